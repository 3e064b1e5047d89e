//! The numbers of pace, fairness and refusals.

use std::time::Duration;

use super::CALL_BYTES_FLOOR;

/// Trouble that comes back within this after a recovery, or twice as long as the last recovery had to
/// last, shows that the recovery was none: the next one must last at least for this before the state
/// is `ok`, and each further one for twice as long …
pub const WELL_HOLD_MIN: Duration = Duration::from_secs(30);

/// … but for no longer than this.
pub const WELL_HOLD_MAX: Duration = Duration::from_mins(10);

/// A change from one kind of trouble to another is logged at most this often.
pub const OTHER_TROUBLE_LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Whole calls refused in a row, without one success, before the stream itself is taken for refused
/// and splitting stops: enough to find one bad event in the largest call (2^15 events), few enough
/// that a wrong endpoint is not asked about each event of a backlog.
pub const REFUSALS_BEFORE_SLOW: u32 = 32;

/// Parts of calls that a refused stream may have waiting before it stops trying others. They are
/// positions without payload; only a success among them or the others shows who is at fault.
pub const REFUSED_PARTS_MAX: usize = 64;

/// How often a single refused event is tried again.
pub const REFUSED_RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// How often a single event is refused between two calls that are taken, before it becomes a dead
/// letter.
pub const REFUSALS_BEFORE_DEAD_LETTER: u32 = 3;

/// Refused calls between those two. More of them say that nothing is taken at the moment.
pub const REFUSALS_BETWEEN_MAX: u32 = 8;

/// After so many tries of a refused event without a call being taken in between, another one that was
/// set aside is tried.
pub const TRIALS_IN_VAIN_MAX: u32 = 8;

/// As many dead letters per stream and minute as can be configured.
pub const DEAD_LETTERS_PER_MINUTE_MAX: u32 = 100_000;

/// Refused events that a stream sets aside before it stops taking new ones from the log.
pub const REFUSED_EVENTS_MAX: usize = 256;

/// After throttling, calls begin at this part of the rate that the service has taken.
pub const PACE_CUT: f64 = 0.8;

/// How long until they begin at that rate again, on average: each time it is between three and five
/// quarters of this. Behind it the rate grows ever faster.
pub const PACE_RECOVERY: Duration = Duration::from_secs(15);

/// At so many times the rate at which the service has throttled last, that is forgotten.
pub const PACE_FORGET_AT: f64 = 16.0;

/// What a pace lets begin at once after a rest, in seconds of its rate. What a late timer cost is
/// made up for, and no more.
pub const PACE_CREDIT: Duration = Duration::from_millis(100);

/// The rate that a service has taken is measured in slots of this length …
pub const PACE_METER_SLOT: Duration = Duration::from_millis(500);

/// … over the last so many of them …
pub const PACE_METER_SLOTS: u32 = 16;

/// … and over no less than this.
pub const PACE_METER_MIN: Duration = Duration::from_secs(1);

/// Bytes, records and calls per second below which no pace is learned: slower than that, the pauses
/// after failures are what spares the service.
pub const PACE_RATES_MIN: [f64; 3] = [65_536.0, 50.0, 10.0];

/// The least quota in bytes per second that can be configured: a smallest call takes a second.
pub const QUOTA_BYTES_MIN: u64 = CALL_BYTES_FLOOR as u64;

/// The largest quota, in any unit per second: above it nothing is meant.
pub const QUOTA_MAX: u64 = 1 << 40;

/// As many calls in flight to one sink, over all its streams, as can be configured.
pub const SINK_IN_FLIGHT_MAX: usize = 4096;

/// Of the calls in flight to one sink, the part that streams may have to which nothing gets through
/// at the moment: one in so many.
pub const PROBES_SHARE: usize = 4;

/// A stream takes more of what streams share as long as it then holds no more than so many times
/// what is left for others.
pub const SHARE_OF_FREE: usize = 2;

/// How long a call waits for the memory of a full one, before it makes do with that of one record.
pub const MEMORY_PATIENCE: Duration = Duration::from_secs(1);
