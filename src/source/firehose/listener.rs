//! Accepts HTTP connections with the agent's own limit and patience.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::source::Context;
use crate::source::listener::{Open, Pauses};

/// A listener that takes a permit before it accepts.
#[derive(Debug)]
pub(super) struct Accept {
    listener: TcpListener,
    context: Context,
    name: String,
    pauses: Pauses,
}

impl Accept {
    pub(super) fn new(listener: TcpListener, context: Context, name: String) -> Self {
        Self { listener, context, name, pauses: Pauses::default() }
    }
}

/// A connection with its permit.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    _open: Open,
    _permit: Option<OwnedSemaphorePermit>,
}

impl axum::serve::Listener for Accept {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            // Never closed, so always a permit.
            let permit = self.context.connections.clone().acquire_owned().await.ok();
            let accepted = self.listener.accept().await.and_then(|(stream, peer)| {
                stream.set_nodelay(true)?;
                Ok((stream, peer))
            });
            match accepted {
                Ok((stream, peer)) => {
                    self.pauses.succeeded(&self.name);
                    let open = Open::count(self.context.status.clone());
                    return (Connection { stream, _open: open, _permit: permit }, peer);
                }
                Err(error) => {
                    drop(permit);
                    tokio::time::sleep(self.pauses.failed(&self.name, &error)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who calls, for the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller(pub(super) SocketAddr);

impl Connected<IncomingStream<'_, Accept>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Accept>) -> Self {
        Self(*stream.remote_addr())
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
