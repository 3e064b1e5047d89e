//! One life of the agent: from a start on what is there to its end, whichever it is.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use standpipe::agent::pipeline::{Ground, Pipeline};
use standpipe::journal::Journal;
use standpipe::offsets::sim;
use standpipe::status::AgentStatus;
use standpipe::tasks;
use standpipe_wal::fs::sim::{Fault, SimFs};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::DATA_DIR;
use crate::chance::Chance;
use crate::chorus::Chorus;
use crate::clients;
use crate::ground::{self, Calendar};
use crate::run::Run;
use crate::scenario::SINK;
use crate::sink::{MoodySink, Weather};
use crate::store::AuditedStore;

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to stop, and did, with all that it knew about deliveries saved.
    Saved,
    /// It was told to stop, and did; the store of offsets could not be written.
    Stopped,
    /// The process died, or the power went.
    Cut,
    /// It did not come up: something that it needs failed.
    NotStarted,
}

/// What may go wrong in a life.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each thing that may go wrong does so on its own"
)]
pub(crate) struct Plan {
    pub(crate) seconds: u64,
    pub(crate) disk_faults: bool,
    pub(crate) store_faults: bool,
    pub(crate) moods: bool,
    pub(crate) power_cuts: bool,
    pub(crate) small_disk: bool,
    pub(crate) stops: bool,
    /// Whether the agent has to come to rest by itself before it ends.
    pub(crate) rests: bool,
}

impl Plan {
    pub(crate) fn any(chance: &mut Chance) -> Self {
        Self {
            seconds: chance.pick(&[1, 5, 20, 60]),
            disk_faults: chance.one_in(2),
            store_faults: chance.one_in(2),
            moods: !chance.one_in(4),
            power_cuts: chance.one_in(2),
            small_disk: chance.one_in(3),
            stops: chance.one_in(3),
            rests: chance.one_in(3),
        }
    }
}

/// How long anything may take that must end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

/// An agent that has come up, and its clients.
pub(crate) struct Living {
    pub(crate) pipeline: Pipeline,
    calendar: Arc<Calendar>,
    status: Arc<AgentStatus>,
    /// Absent once they have ended.
    clients: Option<JoinHandle<()>>,
    enough: Arc<AtomicBool>,
}

impl Living {
    /// Starts an agent on the present disks. Absent where that fails.
    pub(crate) async fn start(run: &mut Run, chance: &mut Chance) -> Option<Self> {
        let calendar = Arc::new(Calendar::new(run.calendar_ms));
        let world = ground::world(chance, &calendar);
        let mut config = run.scenario.config.clone();
        let (fs, ledger, trace) = (run.fs.clone(), run.ledger.clone(), run.trace.clone());
        let store = AuditedStore::new(run);
        let destination = Arc::clone(&run.destination);
        let sink = MoodySink { destination, fs: fs.clone(), ledger, trace };
        config.sinks.insert(SINK.into(), Arc::new(sink));
        let ground = Ground { fs: Arc::new(fs), store: Box::new(store), world };
        let status = Arc::<AgentStatus>::default();
        let started = Pipeline::start(Arc::new(config), ground, status.clone());
        let mut pipeline = match started.await {
            Ok(pipeline) => pipeline,
            Err(error) => {
                run.trace.line(&format!("cannot start: {error:#}"));
                return None;
            }
        };
        let enough = Arc::new(AtomicBool::new(false));
        let voices = run.scenario.clients.iter().map(|client| -> tasks::BoxFuture<'static, ()> {
            Box::pin(clients::run(
                client.clone(),
                pipeline.intake().clone(),
                chance.fork(),
                Arc::clone(&enough),
                run.ledger.clone(),
                run.trace.clone(),
            ))
        });
        let clients = tasks::spawn(Chorus::new(voices.collect()));
        if let Err(error) = pipeline.open_existing().await {
            run.trace.line(&format!("cannot start: {error:#}"));
            return None;
        }
        Some(Self { pipeline, calendar, status, clients: Some(clients), enough })
    }

    /// Tells the clients that it is enough, and waits for them; false where they do not end, and are
    /// cut off in the middle.
    pub(crate) async fn finish_clients(&mut self, patience: Duration) -> bool {
        self.enough.store(true, Ordering::Relaxed);
        let Some(mut clients) = self.clients.take() else { return true };
        let ended = timeout(patience, &mut clients).await.is_ok();
        if !ended {
            clients.abort();
            assert!(clients.await.is_err(), "they were cut off");
        }
        ended
    }

    /// What the file system tells the agent about its free space.
    pub(crate) fn report_free(&self, disk: &SimFs, limit: Option<u64>) {
        let free = limit.map_or(u64::MAX, |limit| limit.saturating_sub(disk.used_bytes()));
        self.pipeline.journal().quota().report_free(free);
    }

    /// Nothing goes wrong any more: clients come to an end, everything is delivered, and each log
    /// shrinks to one empty segment, without a restart.
    pub(crate) async fn rest(&mut self, run: &Run) {
        run.trace.line("rest");
        self.report_free(&run.fs, None);
        if !self.finish_clients(PATIENCE).await {
            run.ledger.books().violated("liveness", "clients wait for ever");
        }
        run.trace.line("clients have ended");
        let until = Instant::now() + PATIENCE;
        while let Some(unsettled) = self.unsettled() {
            if Instant::now() > until {
                run.ledger.books().violated("liveness", &unsettled);
                break;
            }
            sleep(Duration::from_secs(5)).await;
        }
        run.trace.line("settled");
    }

    /// A part that is not at rest: something is not delivered, a log is larger than a header, or a
    /// state says that something is wrong.
    fn unsettled(&self) -> Option<String> {
        let offsets = self.status.offsets.state().state;
        if !["ok", "restarted"].contains(&offsets.as_str()) {
            return Some(format!("the store of offsets is {offsets}"));
        }
        self.pipeline.journal().streams().iter().find_map(|stream| {
            let status = stream.status();
            let (next, committed) = (status.next.value(), status.committed.value());
            let (segments, oldest) = (status.segments.value(), status.oldest.value());
            let (log, upload) = (status.log.state().state, status.upload.state().state);
            let at_rest = next == committed
                && segments <= 1
                && oldest == next
                && log != "failing"
                && upload == "ok";
            (!at_rest).then(|| {
                format!(
                    "{}: next {next}, committed {committed}, {segments} segments from \
                     {oldest} on, log {log}, upload {upload}",
                    stream.name(),
                )
            })
        })
    }

    /// Ends in order.
    pub(crate) async fn stop(mut self, run: &Run, chance: &mut Chance) -> End {
        self.finish_clients(Duration::from_millis(chance.between(0, 2000))).await;
        let journal = Arc::clone(self.pipeline.journal());
        if timeout(PATIENCE, self.pipeline.stop()).await.is_err() {
            run.ledger.books().violated("liveness", "a stop does not end");
        }
        check_counts(&journal, run, !run.fs.is_off());
        let offsets = self.status.offsets.state().state;
        if offsets == "failing" || run.fs.is_off() { End::Stopped } else { End::Saved }
    }
}

/// What the counters say must fit what the clients and the destination have seen.
pub(crate) fn check_counts(journal: &Journal, run: &Run, stopped: bool) {
    for stream in journal.streams() {
        let (name, status) = (stream.name().as_str(), stream.status());
        let mut books = run.ledger.books();
        let seen = books.stream(name).this_life;
        let possible = status.possible_duplicates.value();
        if seen.duplicates > possible {
            let what = format!("{name}: {} duplicates, {possible} counted", seen.duplicates);
            books.violated("P9", &what);
        }
        let refused: u64 = status.refused.snapshot().values().sum();
        let told = status.accepted_events.value() + refused;
        let known = seen.submitted + seen.turned_away;
        if stopped && told != known {
            books.violated("P5", &format!("{name}: {known} came, {told} are accounted for"));
        }
    }
}

/// Lets things happen until the life is over, one way or the other.
pub(crate) async fn live(run: &mut Run, plan: Plan, chance: &mut Chance) -> End {
    if !plan.small_disk {
        run.fs.limit(None);
    }
    plan_start_faults(run, plan, chance);
    let Some(mut living) = Living::start(run, chance).await else { return End::NotStarted };
    let until = Instant::now() + Duration::from_secs(plan.seconds);
    let mut limit = None;
    while Instant::now() < until && !run.fs.is_off() {
        sleep(Duration::from_millis(chance.between(20, 600))).await;
        happen(run, &living, plan, &mut limit, chance);
        living.report_free(&run.fs, limit);
    }
    if plan.rests && !run.fs.is_off() {
        run.calm();
        living.rest(run).await;
    }
    run.calendar_ms = living.calendar.shows_ms();
    check_counts(living.pipeline.journal(), run, false);
    if !plan.stops || run.fs.is_off() {
        return End::Cut;
    }
    run.trace.line("stop");
    living.stop(run, chance).await
}

/// Faults that meet the agent while it comes up.
fn plan_start_faults(run: &mut Run, plan: Plan, chance: &mut Chance) {
    if plan.disk_faults && chance.one_in(3) {
        disk_fault(run, chance);
    }
    if plan.power_cuts && chance.one_in(4) {
        run.fs.inject(Fault::Crash, run.fs.operations() + chance.between(0, 60), 1);
    }
    if plan.store_faults && chance.one_in(4) {
        // The first operation opens it, the second syncs what was read.
        let (after, fault) =
            chance.pick(&[(0, sim::Fault::OutOfSpace), (1, sim::Fault::SyncFails)]);
        run.trace.line(&format!("fault of the store at its start {fault:?}"));
        run.store.fail(run.store.operations().len() + after, fault);
    }
}

/// One of the things that happen.
fn happen(
    run: &mut Run,
    living: &Living,
    plan: Plan,
    limit: &mut Option<u64>,
    chance: &mut Chance,
) {
    match chance.between(0, 11) {
        0 | 1 if plan.moods => {
            let weather = Weather::any(chance);
            run.trace.line(&format!("weather {weather:?}"));
            run.destination.lock().unwrap().weather = weather;
        }
        2 if plan.moods => {
            let poison = chance.one_in(2);
            run.trace.line(&format!("poison {poison}"));
            run.destination.lock().unwrap().poison = poison;
        }
        3 | 4 if plan.disk_faults => disk_fault(run, chance),
        5 if plan.disk_faults => {
            run.trace.line("the disk works again");
            run.fs.clear_faults();
        }
        6 if plan.store_faults => {
            use sim::Fault::{Corruption, OutOfSpace, SyncFails};
            let fault = chance.pick(&[Corruption, OutOfSpace, SyncFails]);
            let number = run.store.operations().len() + usize::from(chance.one_in(2));
            run.trace.line(&format!("fault of the store {fault:?}"));
            run.store.fail(number, fault);
        }
        7 => {
            let hours = i64::try_from(chance.between(0, 96)).unwrap() - 48;
            run.trace.line(&format!("the calendar jumps by {hours} h"));
            living.calendar.jump(hours * 3_600_000);
        }
        8 if plan.small_disk => {
            let room = chance.pick(&[0, 16 << 10, 200 << 10, 1 << 20]);
            *limit = (!chance.one_in(3)).then_some(run.fs.used_bytes() + room);
            run.trace.line(&format!("the disk has {limit:?} bytes"));
            run.fs.limit(*limit);
        }
        9 if plan.power_cuts && chance.one_in(6) => {
            run.fs.inject(Fault::Crash, run.fs.operations() + chance.between(0, 40), 1);
        }
        10 if plan.power_cuts && chance.one_in(3) => {
            run.cut_before_sync.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}

fn disk_fault(run: &mut Run, chance: &mut Chance) {
    let fault = chance.pick(&Fault::SURVIVABLE);
    let from = run.fs.operations() + chance.between(0, 30);
    let times = chance.pick(&[1, 1, 2, 5, 1000]);
    run.trace.line(&format!("fault of the disk {fault:?} at {from}, {times} times"));
    run.fs.inject(fault, from, times);
}

/// The directory of the logs must exist before anything else does.
pub(crate) fn make_data_dir(fs: &SimFs) {
    use standpipe_wal::fs::Fs as _;
    fs.create_dir(Path::new(DATA_DIR)).unwrap();
    fs.sync_dir(Path::new("/")).unwrap();
}
