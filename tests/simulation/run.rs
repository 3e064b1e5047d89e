//! A whole run: lives one after the other on the same disks, then a quiet one in which everything
//! must come to rest.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use standpipe::dead_letters::DeadLetters;
use standpipe::offsets::sim::SimDisk;
use standpipe_wal::fs::sim::{Loss, SimFs};
use standpipe_wal::inspect;
use tokio::time::sleep;

use crate::chance::Chance;
use crate::ledger::Ledger;
use crate::life::{self, End, Living, Plan};
use crate::scenario::{STREAMS, Scenario};
use crate::sink::{Destination, Weather};
use crate::trace::Trace;
use crate::{DATA_DIR, STREAMS_DIR, audit, panics, payload};

/// What stays when an agent ends, and who watches.
pub(crate) struct Run {
    pub(crate) scenario: Scenario,
    pub(crate) fs: SimFs,
    pub(crate) store: SimDisk,
    /// Whether the agent is to end between a write of the store and its sync.
    pub(crate) cut_before_sync: Arc<AtomicBool>,
    pub(crate) destination: Arc<Mutex<Destination>>,
    pub(crate) ledger: Ledger,
    pub(crate) trace: Trace,
    /// What the calendar shows, in milliseconds of Unix time.
    pub(crate) calendar_ms: i64,
}

/// What a run came to.
pub(crate) struct Outcome {
    pub(crate) trace: String,
    pub(crate) violations: Vec<String>,
    pub(crate) lives: u32,
    pub(crate) simulated: Duration,
    pub(crate) acknowledged: usize,
    pub(crate) delivered: usize,
    pub(crate) dead_letters: usize,
}

/// Runs what a seed stands for.
pub(crate) fn run(seed: u64, echo: bool) -> Outcome {
    let mut chance = Chance::new(seed);
    let scenario = Scenario::new(&mut chance);
    let fs = SimFs::new(chance.u64());
    life::make_data_dir(&fs);
    let mut run = Run {
        scenario,
        fs,
        store: SimDisk::default(),
        cut_before_sync: Arc::default(),
        destination: Arc::new(Mutex::new(Destination::new(chance.fork()))),
        ledger: Ledger::default(),
        trace: Trace::new(echo),
        calendar_ms: 1_700_000_000_000,
    };
    for stream in STREAMS {
        let mut books = run.ledger.books();
        books.streams.entry(stream.to_owned()).or_default().ordered = stream == "ordered";
    }
    panics::forget();
    let lives = run.scenario.lives;
    let mut saved = false;
    for number in 0..lives {
        let (plan, mut choices) = (Plan::any(&mut chance), chance.fork());
        run.trace.line(&format!("life {number} {plan:?}"));
        let end = run.one_life(number, saved, |run| Box::pin(life::live(run, plan, &mut choices)));
        run.after(end, &mut chance);
        saved = end == End::Saved;
    }
    run.trace.line("the quiet life");
    let mut choices = chance.fork();
    run.calm();
    run.one_life(lives, saved, |run| Box::pin(run.quiet(&mut choices)));
    run.verdict(lives + 1)
}

type Life<'a> = std::pin::Pin<Box<dyn Future<Output = End> + 'a>>;

impl Run {
    /// One agent from its start to its end, on a runtime and a clock of its own.
    fn one_life<'a>(
        &'a mut self,
        number: u32,
        saved: bool,
        life: impl FnOnce(&'a mut Self) -> Life<'a>,
    ) -> End {
        let stored = audit::decode(&self.store.seen());
        self.look_at_disk();
        self.ledger.books().begin_life(number, &stored, saved);
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let (trace, ledger) = (self.trace.clone(), self.ledger.clone());
        let end = runtime.block_on(async {
            trace.begin();
            let end = life(self).await;
            trace.line(&format!("end {end:?}"));
            trace.end();
            end
        });
        drop(runtime);
        for panic in panics::take() {
            ledger.books().violated("panic", &panic);
        }
        end
    }

    /// What the end of a life leaves of the disks.
    fn after(&mut self, end: End, chance: &mut Chance) {
        let loss = chance.pick(&Loss::ALL);
        let kept = usize::try_from(chance.between(0, 3)).unwrap();
        let operations = self.fs.operations();
        self.trace.line(&format!("after {end:?}, {operations} operations: {loss:?}, {kept}"));
        self.fs = self.fs.crash(loss, chance.u64());
        if loss != Loss::Process {
            self.store.cut_power(kept);
        }
        self.store.clear_faults();
        self.cut_before_sync.store(false, Ordering::Relaxed);
        let down_ms = chance.pick(&[0, 1_000, 3_600_000]);
        self.calendar_ms += down_ms;
    }

    /// Faults have stopped.
    pub(crate) fn calm(&mut self) {
        self.fs.clear_faults();
        self.store.clear_faults();
        self.cut_before_sync.store(false, Ordering::Relaxed);
        self.fs.limit(None);
        let mut destination = self.destination.lock().unwrap();
        destination.weather = Weather::Fair;
        destination.poison = false;
    }

    /// What lies on the disk between two lives: nothing was given back too early, and events that a
    /// commit has passed as dead letters are such.
    fn look_at_disk(&self) {
        let durable = audit::decode(&self.store.durable());
        let disk = self.fs.fork();
        disk.clear_faults();
        let letters = DeadLetters::new(Arc::new(disk.clone()), Path::new(DATA_DIR), 0, 0);
        for stream in STREAMS {
            let name = stream.parse().unwrap();
            let mut buried = BTreeSet::new();
            let read = letters.read(&name, u64::MAX, |letter| -> io::Result<()> {
                buried.extend(payload::decode_all(&letter.payload).unwrap());
                Ok(())
            });
            read.unwrap();
            self.ledger.books().buried(stream, &buried);
            let dir = Path::new(STREAMS_DIR);
            let Ok(report) = inspect::stream(&disk, dir, &name) else { continue };
            let committed = durable.get(stream).map_or(0, |progress| progress.committed);
            if !report.segments.is_empty() {
                self.ledger.books().trimmed_to(stream, report.oldest.get(), committed);
            }
        }
    }

    /// The last life: some more events, then everything must be delivered and given back.
    async fn quiet(&mut self, chance: &mut Chance) -> End {
        let Some(mut living) = Living::start(self, chance).await else {
            self.ledger.books().violated("P4", "a start fails although nothing is wrong");
            return End::NotStarted;
        };
        sleep(Duration::from_millis(chance.between(0, 5_000))).await;
        living.rest(self).await;
        living.stop(self, chance).await
    }

    fn verdict(self, lives: u32) -> Outcome {
        self.look_at_disk();
        let mut books = self.ledger.books();
        books.close();
        Outcome {
            trace: self.trace.text(),
            violations: std::mem::take(&mut books.violations),
            lives,
            simulated: self.trace.elapsed(),
            acknowledged: books.acknowledged_events(),
            delivered: books.delivered_events(),
            dead_letters: books.dead_letters(),
        }
    }
}
