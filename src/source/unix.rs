//! Source `unix`: the line protocol on a Unix socket.

use std::fs::{self, File, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use rustix::fs::FlockOperation;
use serde::Deserialize;
use socket2::{Domain, SockAddr, Socket, Type};

use super::access::{Access, Account, Allow, group_number};
use super::listener::{self, Listener};
use super::options::{EventBytesMax, LineOptions, Mode, Terminator};
use super::service::Service;
use super::{Bound, Context, Kind, Source};
use crate::intake::UnknownStreams;
use crate::limits::ACCEPT_BACKLOG;
use crate::systemd::activation::Inherited;

pub(super) const KIND: Kind =
    Kind { name: "unix", parse: |options| Ok(Arc::new(options.try_into::<Unix>()?)) };

/// `[[source]]` with `kind = "unix"`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unix {
    path: PathBuf,
    #[serde(default)]
    mode: Mode,
    /// Who beside the owner has the mode's middle digit; the agent's own group unless given.
    #[serde(default)]
    group: Option<Account>,
    /// Who may write which streams; without it, whoever may open the socket may write them all.
    #[serde(default)]
    allow: Option<Vec<Allow>>,
    #[serde(default)]
    terminator: Terminator,
    #[serde(default)]
    unknown_streams: Option<UnknownStreams>,
    #[serde(default)]
    max_event_bytes: EventBytesMax,
}

impl Source for Unix {
    fn kind(&self) -> &'static str {
        KIND.name
    }

    fn bind(&self, inherited: &mut Inherited) -> io::Result<Box<dyn Bound>> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", self.path.display()))
        };
        let access = Access::resolve(self.allow.as_deref()).map_err(named)?;
        let group = self.group.as_ref().map(group_number).transpose().map_err(named)?;
        let (socket, file) = if let Some(socket) = inherited.take_unix(&self.path) {
            // Its file is the service manager's, with the mode and the owner that it gave it.
            self.compare(group);
            (socket, None)
        } else {
            let (socket, file) = bind(&self.path, self.mode.0, group).map_err(named)?;
            (socket, Some(file))
        };
        let lines =
            LineOptions { terminator: self.terminator.0, event_bytes_max: self.max_event_bytes.0 };
        let unknown = self.unknown_streams.unwrap_or(UnknownStreams::Open);
        let path = self.path.clone();
        Ok(Box::new(BoundUnix { socket, path, file, lines, unknown, access }))
    }
}

impl Unix {
    /// Says where a socket that the service manager made differs from what is configured.
    fn compare(&self, group: Option<u32>) {
        let Ok(found) = fs::metadata(&self.path) else { return };
        let mode = found.mode() & 0o777;
        if mode != self.mode.0 || group.is_some_and(|group| group != found.gid()) {
            tracing::warn!(
                path = %self.path.display(), mode = format!("{mode:04o}"), group = found.gid(),
                "the service manager made this socket with another mode or group than the \
                 configuration has; to change them, change its socket unit"
            );
        }
    }
}

/// Makes the socket file and listens. A file that a dead process left is replaced; a live one,
/// and anything that is not a socket, is an error.
fn bind(path: &Path, mode: u32, group: Option<u32>) -> io::Result<(UnixListener, SocketFile)> {
    let address = SockAddr::unix(path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = fs::create_dir(dir)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error);
    }
    // Looking whether a socket is dead and replacing it must not meet another process that does
    // the same. The lock ends with this function.
    let _lock = lock(dir)?;
    remove_dead(path, &address)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address)?;
    let found = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.into(), identity: (found.dev(), found.ino()) };
    if group.is_some() {
        chown(path, None, group).map_err(|error| {
            io::Error::new(error.kind(), format!("give the socket to its group: {error}"))
        })?;
    }
    // Nobody can connect before `listen`, so nobody can meet the wrong permissions.
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    socket.listen(ACCEPT_BACKLOG)?;
    Ok((socket.into(), file))
}

fn lock(dir: &Path) -> io::Result<File> {
    let dir = File::open(dir)?;
    rustix::fs::flock(&dir, FlockOperation::LockExclusive)?;
    Ok(dir)
}

/// Removes a socket file that nobody listens on.
fn remove_dead(path: &Path, address: &SockAddr) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        let text = "a file that is not a socket is in the way";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A live listener with a full queue would make a blocking `connect` wait.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        Ok(()) | Err(_) => {
            let text = "another process is listening on this socket";
            Err(io::Error::new(io::ErrorKind::AddrInUse, text))
        }
    }
}

/// The name of a listening socket; removed with it, unless somebody else has taken the name.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = |found: fs::Metadata| (found.dev(), found.ino()) == self.identity;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            // What stays is found dead at the next start.
            let _removed = fs::remove_file(&self.path).is_ok();
        }
    }
}

#[derive(Debug)]
struct BoundUnix {
    socket: UnixListener,
    path: PathBuf,
    /// Absent where the service manager owns it.
    file: Option<SocketFile>,
    lines: LineOptions,
    unknown: UnknownStreams,
    access: Access,
}

impl Bound for BoundUnix {
    fn address(&self) -> String {
        format!("unix://{}", self.path.display())
    }

    fn run(self: Box<Self>, context: Context) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let name = self.address();
        Box::pin(async move {
            let Self { socket, file, lines, unknown, access, .. } = *self;
            match tokio::net::UnixListener::from_std(socket) {
                Ok(listener) => {
                    let service = Service::new(name, context, lines, unknown, access);
                    listener::run(Listener::Unix(listener), Arc::new(service)).await;
                }
                Err(error) => tracing::error!(source = %name, %error, "cannot listen"),
            }
            drop(file);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_file_has_its_mode_and_goes_with_the_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made").join("in.sock");
        let (listener, file) = bind(&path, 0o620, None).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o620);
        assert!(UnixStream::connect(&path).is_ok());
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "the standard library leaves the file");
        let (live, _file) = bind(&path, 0o660, None).unwrap();
        assert_eq!(bind(&path, 0o660, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(UnixStream::connect(&path).is_ok());
        drop(live);
    }

    #[test]
    fn a_live_socket_with_a_full_queue_is_not_taken_for_dead() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        let live = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        live.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        live.listen(1).unwrap();
        let mut waiting = Vec::new();
        loop {
            let client = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            if client.connect(&SockAddr::unix(&path).unwrap()).is_err() {
                break;
            }
            waiting.push(client);
        }
        assert_eq!(bind(&path, 0o660, None).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert!(path.exists());
    }

    #[test]
    fn what_is_not_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "data").unwrap();
        assert_eq!(bind(&path, 0o660, None).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"data");
    }

    #[test]
    fn another_ones_socket_is_not_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        let (listener, file) = bind(&path, 0o660, None).unwrap();
        fs::remove_file(&path).unwrap();
        let _theirs = UnixListener::bind(&path).unwrap();
        drop((listener, file));
        assert!(path.exists());
    }

    #[test]
    fn a_socket_of_the_service_manager_is_taken_over_and_its_file_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.sock");
        let held = UnixListener::bind(&path).unwrap();
        let mut inherited = Inherited::of(Vec::new(), vec![held.try_clone().unwrap()]);
        let source: Unix = toml::from_str(&format!("path = '{}'", path.display())).unwrap();
        drop(source.bind(&mut inherited).unwrap());
        assert!(path.exists() && inherited.addresses().is_empty());
        assert!(UnixStream::connect(&path).is_ok(), "it is held open");
    }

    #[test]
    fn a_mode_is_octal_text() {
        let parse = |options: &str| toml::from_str::<Unix>(options).map_err(|e| e.to_string());
        assert_eq!(parse("path = '/a'\nmode = '0600'").unwrap().mode.0, 0o600);
        assert_eq!(parse("path = '/a'").unwrap().mode.0, 0o660);
        for mode in ["'0999'", "'rw'", "'07777'"] {
            assert!(parse(&format!("path = '/a'\nmode = {mode}")).unwrap_err().contains("octal"));
        }
    }
}
