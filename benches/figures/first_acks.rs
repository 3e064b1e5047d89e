//! One client for each stream, all of them in one thread: what they take from the processors is
//! missing to the agent that starts.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::agent::Agent;

const HELLO: &[u8] = b"STANDPIPE/2\n";

struct Client {
    socket: UnixStream,
    received: Vec<u8>,
}

impl Client {
    /// What came so far; whether the first event is acknowledged in it.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => panic!("the agent has hung up"),
                Ok(bytes) => self.received.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        let Some(first) = self.received.iter().position(|byte| *byte == b'\n') else {
            return false;
        };
        assert!(self.received.starts_with(b"OK"));
        let answer = &self.received[first + 1..];
        assert!(b"ACK 1\n".starts_with(answer), "{}", answer.escape_ascii());
        answer == b"ACK 1\n"
    }
}

/// From the start of the process to the acknowledgement of each stream's first new event, in order.
/// All clients connect and send as soon as the agent listens.
pub(crate) fn measure(agent: &Agent, streams: usize) -> Vec<Duration> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let mut clients: Vec<Client> = Vec::with_capacity(streams);
    for stream in 0..streams {
        let mut socket = agent.connect_soon();
        socket.write_all(&[HELLO, &crate::ingest::block(stream, 1)].concat()).unwrap();
        socket.set_nonblocking(true).unwrap();
        let number = epoll::EventData::new_u64(stream as u64);
        epoll::add(&epoll, &socket, number, epoll::EventFlags::IN).unwrap();
        clients.push(Client { socket, received: Vec::new() });
    }
    let mut first = Vec::with_capacity(streams);
    let mut events = Vec::with_capacity(64);
    while first.len() < streams {
        epoll::wait(&epoll, spare_capacity(&mut events), None).unwrap();
        for event in events.drain(..) {
            let event: epoll::Event = event;
            let client = &mut clients[event.data.u64() as usize];
            if client.read() {
                first.push(agent.began().elapsed());
                epoll::delete(&epoll, &client.socket).unwrap();
            }
        }
    }
    first
}
