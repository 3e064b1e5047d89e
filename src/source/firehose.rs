//! Source `firehose`: the Firehose API on a local port, so that a program with an AWS SDK gets a
//! durable buffer on its own host by a change of the endpoint.
//!
//! `PutRecord`, `PutRecordBatch` and `DescribeDeliveryStream`, with the service's own limits and
//! errors. A call is answered after its last record is durable. Signatures are not checked.

use std::future::Future;
use std::io;
use std::net::{self, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use serde::Deserialize;

use self::admission::Admission;
use self::call::Api;
use self::listener::{Accept, Caller};
use super::options::Listen;
use super::refusals::Refusals;
use super::socket::Peer;
use super::{Bound, Context, Kind, Source, tcp};
use crate::config::value::Period;
use crate::intake::UnknownStreams;
use crate::limits::STOP_GRACE;
use crate::systemd::activation::Inherited;

mod admission;
mod call;
mod listener;
pub mod reply;
pub mod request;

pub(super) const KIND: Kind =
    Kind { name: "firehose", parse: |options| Ok(Arc::new(options.try_into::<Firehose>()?)) };

/// `[[source]]` with `kind = "firehose"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Firehose {
    listen: Listen,
    /// `open` on loopback addresses, `configured` on all others, unless given.
    #[serde(default)]
    unknown_streams: Option<UnknownStreams>,
    /// A call that is not durable after this long is answered 503.
    #[serde(default = "ack_timeout")]
    ack_timeout: Period,
}

fn ack_timeout() -> Period {
    Period(Duration::from_secs(30))
}

impl Source for Firehose {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn bind(&self, inherited: &mut Inherited) -> io::Result<Box<dyn Bound>> {
        let (socket, address) = tcp::bind(&self.listen, inherited)?;
        let unknown = self.unknown_streams.unwrap_or_else(|| tcp::default_for(address));
        Ok(Box::new(BoundFirehose { socket, address, unknown, ack_timeout: self.ack_timeout.0 }))
    }
}

#[derive(Debug)]
struct BoundFirehose {
    socket: net::TcpListener,
    address: SocketAddr,
    unknown: UnknownStreams,
    ack_timeout: Duration,
}

impl Bound for BoundFirehose {
    fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    fn run(self: Box<Self>, context: Context) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let name = self.address();
        Box::pin(async move {
            match tokio::net::TcpListener::from_std(self.socket) {
                Ok(listener) => {
                    let api = Api {
                        context,
                        unknown: self.unknown,
                        ack_timeout: self.ack_timeout,
                        refusals: Refusals::new(name.clone()),
                        admission: Admission::new(),
                        id: fastrand::u128(..),
                        opened: SystemTime::now(),
                    };
                    serve(listener, Arc::new(api), name).await;
                }
                Err(error) => tracing::error!(source = %name, %error, "cannot listen"),
            }
        })
    }
}

async fn serve(listener: tokio::net::TcpListener, api: Arc<Api>, name: String) {
    let listener = Accept::new(listener, api.context.clone(), name.clone());
    let (mut stop, mut last_stop) = (api.context.stop.clone(), api.context.stop.clone());
    let call = move |ConnectInfo(Caller(peer)): ConnectInfo<Caller>, request: Request| {
        call::answer(api.clone(), Peer::Tcp(peer), request)
    };
    let router = Router::new().fallback(call);
    let service = router.into_make_service_with_connect_info::<Caller>();
    let serving =
        axum::serve(listener, service).with_graceful_shutdown(async move { stop.stopped().await });
    let too_long = async {
        last_stop.stopped().await;
        // Calls have been answered by then; what is left are connections that say nothing.
        tokio::time::sleep(2 * STOP_GRACE).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(source = %name, %error, "the Firehose API ended");
            }
        }
        () = too_long => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_strictly() {
        let parse = |text: &str| toml::from_str::<Firehose>(text).map_err(|e| e.to_string());
        let door = parse("listen = '127.0.0.1:0'\nack_timeout = '2s'").unwrap();
        assert_eq!(door.ack_timeout.0, Duration::from_secs(2));
        assert_eq!(parse("listen = '127.0.0.1:0'").unwrap().ack_timeout.0.as_secs(), 30);
        assert!(parse("").unwrap_err().contains("listen"));
        assert!(parse("listen = '127.0.0.1:0'\nregion = 'x'").unwrap_err().contains("region"));
    }
}
