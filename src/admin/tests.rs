use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net;
use std::path::Path;

use axum::Router;

use super::*;
use crate::systemd::activation::Inherited;
use crate::tasks;

#[derive(Debug)]
struct OneStream(Arc<StreamStatus>);

impl Streams for OneStream {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        vec![("orders".parse().unwrap(), self.0.clone())]
    }

    fn disk(&self) -> Disk {
        Disk::default()
    }

    fn hurry(&self, name: &StreamName) -> bool {
        self.0.next.add(1);
        name.as_str() == "orders"
    }
}

fn registry() -> Registry {
    let status = Arc::new(StreamStatus::default());
    status.next.set(12);
    status.durable.set(10);
    status.committed.set(4);
    status.backlog_bytes.set(600);
    status.oldest_pending_ms.set(1);
    status.refused.add("full", 3);
    status.upload.enter("missing", "no such delivery stream");
    Registry::new(Arc::new(OneStream(status)), Arc::default(), 0.029)
}

fn ask(path: &Path) -> anyhow::Result<Option<Snapshot>> {
    client::ask(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_agent_answers_what_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let listener = bind(&path, &mut Inherited::default()).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let (stopper, stop) = tasks::stop_pair();
    let serving = tasks::spawn(serve(listener, registry(), Router::new(), stop));

    let asked = path.clone();
    let answer = tokio::task::spawn_blocking(move || ask(&asked)).await.unwrap();
    let snapshot = answer.unwrap().unwrap();
    let [stream] = snapshot.streams.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!((stream.stream.as_str(), stream.backlog_events), ("orders", 6));
    assert_eq!((stream.next, stream.durable, stream.committed), (12, 10, 4));
    assert_eq!(stream.refused["full"], 3);
    assert_eq!(stream.state().reason, "no such delivery stream");
    assert!(stream.oldest_age_seconds.unwrap() > 1e9);

    stopper.stop();
    serving.await.unwrap();
    assert!(!path.exists(), "the socket is removed");
    assert!(ask(&path).unwrap().is_none(), "nobody answers any more");
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    drop(net::UnixListener::bind(&path).unwrap());
    assert!(ask(&path).unwrap().is_none(), "nobody listens on a stale socket");
    let first = bind(&path, &mut Inherited::default()).unwrap();

    let error = format!("{:#}", bind(&path, &mut Inherited::default()).unwrap_err());
    assert!(error.contains("admin.sock") && error.contains("another process"), "{error}");
    drop(first);

    std::fs::write(&path, "precious").unwrap();
    let error = format!("{:#}", bind(&path, &mut Inherited::default()).unwrap_err());
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn an_answer_that_is_none_is_an_error_and_not_a_panic() {
    use std::io::Write as _;

    for answer in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 404 Not Found\r\n\r\n", "\r\n\r\n{"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = net::UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // All of the request first: a close before would break the connection under it.
            let mut request = Vec::new();
            let mut piece = [0; 256];
            while !request.ends_with(b"\r\n\r\n") {
                let read = io::Read::read(&mut stream, &mut piece).unwrap();
                request.extend_from_slice(&piece[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let error = format!("{:#}", ask(&path).unwrap_err());
        assert!(error.contains("the answer of the agent"), "{answer:?}: {error}");
        server.join().unwrap();
    }
}
