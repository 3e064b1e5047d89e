//! The configuration read again, by SIGHUP or `standpipe reload`.

use super::{Agents, Args};
use crate::admin::reload::Reloaded;
use crate::telemetry;

/// Reads the configuration again, and says what came of it, in the log as well. Nothing of it is taken
/// over where a part of it cannot be.
pub(super) async fn reload(args: &Args, agents: &mut Agents) -> Reloaded {
    let outcome = attempt(args, agents).await;
    let Reloaded { changed, takes_restart, streams, .. } = &outcome;
    if outcome.reloaded {
        tracing::info!(?changed, ?streams, "reloaded the configuration");
    } else if let Some(error) = &outcome.error {
        tracing::error!(error, "not reloaded: nothing was changed");
    } else {
        tracing::error!(
            ?takes_restart,
            ?changed,
            "not reloaded: nothing was changed, because some of it takes a restart, which refuses \
             no connection and loses nothing"
        );
    }
    outcome
}

async fn attempt(args: &Args, agents: &mut Agents) -> Reloaded {
    let Some(before) = &agents.effective else {
        return Reloaded::failed(
            "with --local the configuration is read at the start alone".into(),
        );
    };
    let after = match args.config.load() {
        Ok(loaded) => loaded.resolved,
        Err(error) => return Reloaded::failed(format!("{error:#}")),
    };
    let outcome = agents.agent.reload(before, &after).await;
    if outcome.reloaded {
        if outcome.changed.iter().any(|key| key == "log.level") {
            follow_level(args, &after.config.log.level);
        }
        agents.effective = Some(after.effective);
    }
    outcome
}

/// Logs what a reloaded configuration says, unless the command line says something else. Where the
/// level did not change, what `standpipe log-level` has set stays.
fn follow_level(args: &Args, level: &str) {
    if let Some(wins) = &args.log {
        tracing::warn!(level, wins, "log.level changed, and --log or STANDPIPE_LOG wins over it");
    } else if let Err(error) = telemetry::set_filter(level) {
        let error = format!("{error:#}");
        tracing::error!(error, level, "the level of the log stays");
    }
}
