//! Numbers of the agent as a service: how it starts, lives and stops under a service manager.

use std::time::Duration;

/// How often the service manager is told how the agent fares.
pub const SERVICE_STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// No call, no answer, no change of state in any stream for this long, while events wait for a
/// destination that is well: delivery is stuck. Longer than any pause that delivery makes by itself,
/// beside the configured ones.
pub const DELIVERY_STILL_MAX: Duration = Duration::from_mins(15);

/// What a stop takes beside its waits: syncing, sealing every log, storing progress.
pub const STOP_MARGIN: Duration = Duration::from_secs(30);

/// How long a start tries again where the data directory cannot be used: a table of files that is full
/// for a moment is no reason to be away.
pub const START_PATIENCE: Duration = Duration::from_secs(2);

/// Between two of these tries.
pub const START_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Connections may take one in so many of the files that a process may open: logs and deliveries
/// need the others.
pub const OPEN_FILES_PER_CONNECTION: u64 = 2;
