//! One connection of the line protocol: what it wants, and how it ends.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::answers;
use super::hello::{self, BadHello, Opening};
use super::reader::{Reader, SCRATCH, Wake, is_passing, wait};
use super::service::Service;
use super::socket::{Peer, Socket};
use crate::limits::{
    ANSWER_STALL_MAX, HALF_CLOSED_MAX, HALF_LINE_IDLE_MAX, SHORT_LINE_BYTES_MAX, UNANSWERED_MAX,
};

/// Serves one connection until it ends. Nothing that happens on it is an error of the agent.
pub(crate) async fn serve(socket: Socket, peer: Peer, service: Arc<Service>) {
    let mut first = Vec::new();
    match open(&socket, &service, &mut first).await {
        Opening::Undecided | Opening::Lines => {
            let mut reader = Reader::new(&socket, peer, &service, None);
            reader.run(&first).await;
        }
        Opening::Hello(bytes, Ok(())) => {
            let lines = first.get(bytes..).unwrap_or_default();
            if serve_acknowledged(&socket, peer, &service, lines).await {
                close(&socket).await;
            }
        }
        Opening::Hello(_, Err(bad)) => {
            refuse_hello(&socket, peer, &service, &bad).await;
            close(&socket).await;
        }
        Opening::Http => {
            refuse_http(&socket, peer, &service).await;
            close(&socket).await;
        }
    }
}

/// Reads until it is clear what the connection wants. Undecided at the end of the input.
async fn open(socket: &Socket, service: &Service, first: &mut Vec<u8>) -> Opening {
    let mut stop = service.context.stop.clone();
    let mut deadline = None;
    loop {
        let Wake::Readable = wait(socket, deadline, &mut stop, None).await else {
            return Opening::Undecided;
        };
        let read = SCRATCH.with_borrow_mut(|scratch| {
            let buffer = scratch.get_mut(..SHORT_LINE_BYTES_MAX).unwrap_or_default();
            let bytes = socket.try_read(buffer)?;
            first.extend_from_slice(buffer.get(..bytes).unwrap_or_default());
            Ok::<usize, io::Error>(bytes)
        });
        match read {
            Ok(0) => return Opening::Undecided,
            Ok(_) => {}
            Err(error) if is_passing(&error) => continue,
            Err(_) => return Opening::Undecided,
        }
        match hello::look(first, service.lines.terminator) {
            Opening::Undecided => deadline = Some(Instant::now() + HALF_LINE_IDLE_MAX),
            decided @ (Opening::Lines | Opening::Hello(..) | Opening::Http) => return decided,
        }
    }
}

/// Whether every answer was taken, so that it is worth to wait for the other side's end.
async fn serve_acknowledged(socket: &Socket, peer: Peer, service: &Service, lines: &[u8]) -> bool {
    let max = service.lines.event_bytes_max;
    let hello = format!("OK version=2 ack=durable frame=line max_event_bytes={max}\n");
    if socket.write_all(hello.as_bytes(), ANSWER_STALL_MAX).await.is_err() {
        return false;
    }
    let (queue, due) = mpsc::channel(UNANSWERED_MAX);
    let mut reader = Reader::new(socket, peer, service, Some(queue));
    // One future reads, the other writes, both in this task; the reader's end closes the queue.
    let read = async move { reader.run(lines).await };
    let ((), written) = tokio::join!(read, answers::write(socket, due));
    if let Err(error) = &written {
        tracing::debug!(source = %service.name, %peer, %error, "answers could not be written");
    }
    written.is_ok()
}

async fn refuse_hello(socket: &Socket, peer: Peer, service: &Service, bad: &BadHello) {
    service.context.status.refused.add(bad.code, 1);
    service.refusals.note(bad.code, 1, peer, bad);
    let text = format!("ERR {bad}\n").replace(|c: char| c.is_control() && c != '\n', " ");
    // The connection ends in any case.
    let _told = socket.write_all(text.as_bytes(), ANSWER_STALL_MAX).await.is_ok();
}

async fn refuse_http(socket: &Socket, peer: Peer, service: &Service) {
    const BODY: &str = "This port takes lines, not HTTP: STREAM, one space, PAYLOAD, line feed.\n";
    service.context.status.refused.add("http", 1);
    service.refusals.note("http", 1, peer, &"an HTTP request on a port for lines");
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    // The connection ends in any case.
    let _told = socket.write_all(answer.as_bytes(), ANSWER_STALL_MAX).await.is_ok();
}

/// Says that nothing more will come, and waits a moment for the other side to read it: closing a
/// socket with unread input would reset the connection and destroy answers on their way.
async fn close(socket: &Socket) {
    if socket.finish_writing().is_err() {
        return;
    }
    let drained = async {
        while socket.readable().await.is_ok() {
            let read = SCRATCH.with_borrow_mut(|scratch| socket.try_read(scratch));
            match read {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_passing(&error) => {}
                Err(_) => return,
            }
        }
    };
    // A client that goes on sending has had its time.
    let _in_time = tokio::time::timeout(HALF_CLOSED_MAX, drained).await.is_ok();
}
