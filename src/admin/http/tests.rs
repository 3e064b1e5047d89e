use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use standpipe_wal::StreamName;

use super::*;
use crate::admin::{Streams, bind, client};
use crate::status::{AgentStatus, Disk, StreamStatus};
use crate::systemd::activation::Inherited;
use crate::tasks;

/// Notes who was told to hurry.
#[derive(Debug, Default)]
struct Hurried(Mutex<Vec<StreamName>>);

impl Streams for Hurried {
    fn streams(&self) -> Vec<(StreamName, Arc<StreamStatus>)> {
        let names = ["clicks", "orders"].map(|name| name.parse().unwrap());
        names.map(|name| (name, Arc::default())).into()
    }

    fn disk(&self) -> Disk {
        Disk::default()
    }

    fn hurry(&self, name: &StreamName) -> bool {
        let exists = self.streams().iter().any(|(stream, _)| stream == name);
        if exists {
            self.0.lock().unwrap().push(name.clone());
        }
        exists
    }
}

/// Sends a request and reads the answer to its end.
async fn exchange(address: SocketAddr, request: &'static str) -> String {
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(exchange).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_reaches_the_address_may_look_and_change_nothing() {
    let agent = Arc::<AgentStatus>::default();
    let streams = Arc::new(Hurried::default());
    let registry = Registry::new(streams.clone(), agent.clone(), 0.0);
    let listener = bind_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (stopper, stop) = tasks::stop_pair();
    let serving = tasks::spawn(serve_tcp(listener, registry, stop));

    let metrics = exchange(address, "GET /metrics HTTP/1.0\r\n\r\n").await;
    assert!(metrics.contains("text/plain; version=0.0.4"), "{metrics}");
    assert!(metrics.contains("standpipe_backlog_events{stream=\"orders\"} 0\n"), "{metrics}");
    let alive = exchange(address, "GET /healthz HTTP/1.0\r\n\r\n").await;
    assert!(alive.starts_with("HTTP/1.0 200"), "{alive}");
    let ready = exchange(address, "GET /readyz HTTP/1.0\r\n\r\n").await;
    assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
    agent.phase.enter("stopping", "no new events are taken");
    let ready = exchange(address, "GET /readyz HTTP/1.0\r\n\r\n").await;
    assert!(ready.starts_with("HTTP/1.0 503") && ready.contains("stopping"), "{ready}");

    for control in [
        "POST /api/drain HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n\
         {\"streams\":[]}",
        "POST /api/log-level HTTP/1.0\r\nContent-Length: 5\r\n\r\ntrace",
    ] {
        let answer = exchange(address, control).await;
        assert!(answer.starts_with("HTTP/1.0 404"), "{answer}");
    }
    assert!(streams.0.lock().unwrap().is_empty(), "nobody may be told anything");
    stopper.stop();
    serving.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_s_own_user_may_hurry_streams_that_exist() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("admin.sock");
    let streams = Arc::new(Hurried::default());
    let registry = Registry::new(streams.clone(), Arc::default(), 0.0);
    let listener = bind(&path, &mut Inherited::default()).unwrap();
    let (stopper, stop) = tasks::stop_pair();
    let serving = tasks::spawn(serve(listener, registry, Router::new(), stop));

    let hurry = |names: &[&str]| {
        let wanted = Hurry { streams: names.iter().map(ToString::to_string).collect() };
        let path = path.clone();
        async move {
            let asked = tokio::task::spawn_blocking(move || client::hurry(&path, &wanted));
            asked.await.unwrap()
        }
    };
    let told = || std::mem::take(&mut *streams.0.lock().unwrap());
    assert_eq!(hurry(&[]).await.unwrap().unwrap().streams.len(), 2);
    assert_eq!(told().len(), 2);
    hurry(&["orders"]).await.unwrap();
    assert_eq!(told(), ["orders".parse().unwrap()]);
    let error = format!("{:#}", hurry(&["ordres"]).await.unwrap_err());
    assert!(error.contains("there is no stream ordres"), "{error}");

    let asked = path.clone();
    let loud = tokio::task::spawn_blocking(move || client::set_log_level(&asked, "loud=maybe"));
    let error = format!("{:#}", loud.await.unwrap().unwrap_err());
    assert!(error.contains("error, warn, info"), "{error}");
    stopper.stop();
    serving.await.unwrap();
}
