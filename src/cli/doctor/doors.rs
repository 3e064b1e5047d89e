//! The sockets, and who listens on them.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use standpipe_wal::lock;

use super::Patient;
use crate::cli::human;
use crate::config::raw::Raw;
use crate::finding::Finding;

/// How long a connection on this host may take.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// `answer` is why the agent could not be asked, where that is so.
pub(super) fn examine(patient: &Patient, raw: &Raw, answer: Option<String>) -> Vec<Finding> {
    let mut findings = vec![agent(patient, answer)];
    let runs = patient.agent.is_some();
    findings.extend(addresses(raw).iter().map(|address| door(address, runs)));
    findings
}

fn agent(patient: &Patient, answer: Option<String>) -> Finding {
    let subject = "agent";
    if let Some(answer) = answer {
        let advice = "run this as the agent's user, or look at the agent's log";
        return Finding::failure(subject, answer, advice);
    }
    if let Some(agent) = &patient.agent {
        let up = agent.started.elapsed().unwrap_or_default().as_secs_f64();
        let says = format!(
            "runs, process {}, version {}, for {}",
            agent.pid,
            agent.version,
            human::age(up)
        );
        if let Some(reason) = agent.not_accepting() {
            let says = format!("{says}; it takes no new events: {reason}");
            return Finding::failure(subject, says, "`standpipe status` shows more");
        }
        let offsets = &agent.offsets;
        if offsets.state != "ok" {
            let says = format!("{says}; committed offsets: {} ({})", offsets.state, offsets.reason);
            let advice = "nothing is lost; look at the disk, events may be delivered again";
            return Finding::warning(subject, says, advice);
        }
        return Finding::ok(subject, says);
    }
    if let Ok(Some(_)) = lock::holder(&patient.config.data_dir) {
        let says = "starts or stops: it holds the data directory and does not answer";
        return Finding::warning(subject, says, "look again in a moment, then at its log");
    }
    Finding::warning(subject, "does not run", "systemctl start standpipe, or `standpipe run`")
}

/// Where a source listens.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Unix(String),
    Tcp(String),
}

/// Of all sources that have one.
fn addresses(raw: &Raw) -> Vec<Address> {
    // The sources' options are their own; the two words for where they listen are common.
    let table = toml::Table::try_from(raw).unwrap_or_default();
    let sources = table.get("source").and_then(toml::Value::as_array);
    let of = |source: &toml::Value| {
        let text = |key: &str| Some(source.get(key)?.as_str()?.to_owned());
        text("path").map(Address::Unix).or_else(|| text("listen").map(Address::Tcp))
    };
    sources.into_iter().flatten().filter_map(of).collect()
}

fn door(address: &Address, agent_runs: bool) -> Finding {
    let (subject, answers) = match address {
        Address::Unix(path) => (format!("unix://{path}"), UnixStream::connect(path).map(drop)),
        Address::Tcp(listen) => (format!("tcp://{listen}"), connect(listen)),
    };
    match (agent_runs, answers) {
        (true, Ok(())) => Finding::ok(subject, "open"),
        (true, Err(error)) => {
            let advice = "was the configuration changed after the agent had started? restart it";
            Finding::failure(subject, format!("the agent does not listen: {error}"), advice)
        }
        (false, Ok(())) => {
            let says = "somebody else listens there: the agent could not start";
            Finding::failure(subject, says, "end the other program, or take another address")
        }
        (false, Err(_)) => Finding::ok(subject, "free, as long as the agent does not run"),
    }
}

fn connect(listen: &str) -> std::io::Result<()> {
    use std::net::ToSocketAddrs as _;

    let mut last = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in listen.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_MAX) {
            Ok(_connection) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Level;

    #[test]
    fn an_open_door_is_good_or_bad_by_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        let address = Address::Unix(path.to_str().unwrap().to_owned());
        assert_eq!(door(&address, false).level, Level::Ok, "free");
        assert_eq!(door(&address, true).level, Level::Failure, "the agent should listen");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(door(&address, true).level, Level::Ok);
        assert_eq!(door(&address, false).level, Level::Failure, "somebody else listens");
    }
}
