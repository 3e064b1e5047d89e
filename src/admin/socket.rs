//! The unix socket that only the agent's own user may open.

use std::fs::Permissions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::systemd::activation::Inherited;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 64;

/// A socket that is bound and has not been served yet. Its file is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: net::UnixListener,
    /// Absent where the service manager owns the file.
    path: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let Some(path) = &self.path else { return };
        // It may be gone already; the next start copes with one that is left over.
        let _gone = std::fs::remove_file(path).is_err();
    }
}

/// Binds the admin socket, mode 0600. A socket that a dead agent has left is replaced. One that the
/// service manager has opened is taken as it is.
pub fn bind(path: &Path, inherited: &mut Inherited) -> anyhow::Result<Listener> {
    if let Some(socket) = inherited.take_unix(path) {
        return Ok(Listener { socket, path: None });
    }
    let socket = open(path).with_context(|| format!("open the admin socket {}", path.display()))?;
    Ok(Listener { socket, path: Some(path.to_owned()) })
}

fn open(path: &Path) -> anyhow::Result<net::UnixListener> {
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        std::fs::create_dir_all(parent)?;
    }
    remove_stale(path)?;
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so there is no moment in which others could.
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(net::UnixListener::from(OwnedFd::from(socket)))
}

/// Removes a socket that nobody listens on any more, and nothing else.
fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let metadata = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    anyhow::ensure!(metadata.file_type().is_socket(), "something that is no socket has this name");
    match net::UnixStream::connect(path) {
        Ok(_) => anyhow::bail!("another process listens there; give this agent its own admin.unix"),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).context("remove a stale socket")
        }
        Err(error) => Err(error).context("look whether a process listens there"),
    }
}
