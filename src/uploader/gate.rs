//! Where calls to one delivery stream wait for their turn: [`Pace`] with a clock and a queue.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep_until};

use super::pace::{Admitted, Load, Pace};
use crate::config::Rates;

/// The gates of all delivery streams: streams that go to the same one share its gate.
#[derive(Debug, Default)]
pub struct Gates(HashMap<(String, Arc<str>), Gate>);

impl Gates {
    /// The gate to a delivery stream of a sink. Of several quotas the least holds.
    pub fn to(&mut self, sink: &str, destination: &Arc<str>, quota: Rates, seed: u64) -> Gate {
        let key = (sink.to_owned(), Arc::clone(destination));
        let gate = self.0.entry(key).or_insert_with(|| Gate::new(quota, seed));
        gate.pace().lower_quota(quota);
        gate.clone()
    }

    /// Takes back every quota, to be given anew by [`Gates::to`], and forgets the gates of these
    /// sinks, which lead somewhere else now.
    pub fn begin_anew(&mut self, changed: impl Fn(&str) -> bool) {
        self.0.retain(|(sink, _), gate| !changed(sink) && Arc::strong_count(&gate.pace) > 1);
        for gate in self.0.values() {
            gate.pace().lift_quota();
        }
    }
}

/// The way to one delivery stream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Held by whoever is next. First come, first served, and each call comes again at the end: so
    /// streams take turns.
    line: Arc<tokio::sync::Mutex<()>>,
    pace: Arc<Mutex<Pace>>,
}

/// A call that was let through.
#[derive(Debug)]
pub(crate) struct Passage {
    gate: Gate,
    admitted: Option<Admitted>,
}

impl Gate {
    /// A gate with a pace of its own; `seed` sets it apart from those of other hosts.
    pub fn new(quota: Rates, seed: u64) -> Self {
        let pace = Pace::new(quota, seed, Instant::now());
        Self { line: Arc::default(), pace: Arc::new(Mutex::new(pace)) }
    }

    /// The largest call that fits the pace.
    pub(crate) fn call_bytes_max(&self) -> usize {
        self.pace().call_bytes_max(Instant::now())
    }

    /// Waits for the turn of a call of about so many bytes.
    pub(crate) async fn pass(&self, bytes: usize) -> Passage {
        self.pace().arrive(Instant::now());
        let mut passage = Passage { gate: self.clone(), admitted: None };
        let turn = self.line.lock().await;
        loop {
            let now = Instant::now();
            let ready_at = self.pace().ready_at(now);
            if ready_at <= now {
                break;
            }
            sleep_until(ready_at).await;
        }
        passage.admitted = Some(self.pace().begin(Load::call(bytes, 0), Instant::now()));
        drop(turn);
        passage
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Passage {
    /// Notes what the call weighs now that it is built.
    pub(crate) fn built(&mut self, bytes: usize, records: usize) {
        if let Some(admitted) = &mut self.admitted {
            self.gate.pace().correct(admitted, Load::call(bytes, records), Instant::now());
        }
    }

    /// Notes what the service has taken of the call, and whether it has throttled.
    pub(crate) fn answered(mut self, taken: Load, throttled: bool) {
        if let Some(admitted) = self.admitted.take() {
            self.gate.pace().answered(admitted, taken, throttled, Instant::now());
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.gate.pace().leave(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const MIB: usize = 1 << 20;

    fn mib(per_second: u64) -> Rates {
        Rates { bytes_per_second: Some(per_second << 20), ..Rates::default() }
    }

    /// A call is let through by its expected size, and weighs what it became.
    #[tokio::test(start_paused = true)]
    async fn a_call_that_became_smaller_leaves_room_for_the_next() {
        let mut gates = Gates::default();
        let gate = gates.to("a", &"orders".into(), mib(1), 1);
        let begin = Instant::now();
        let mut small = gate.pass(MIB).await;
        small.built(1_000, 1);
        let large = gate.pass(MIB).await;
        assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
        let _third = gate.pass(MIB).await;
        assert!(begin.elapsed() > Duration::from_millis(900), "{:?}", begin.elapsed());
        drop((small, large));
    }

    /// One second of the quota is what a call may be, as long as nothing else was learned.
    #[tokio::test(start_paused = true)]
    async fn a_quota_that_is_raised_holds_and_a_sink_that_changed_has_another_gate() {
        let mut gates = Gates::default();
        let orders: Arc<str> = "orders".into();
        let (one, other) = (gates.to("a", &orders, mib(2), 1), gates.to("b", &orders, mib(2), 1));
        assert_eq!(gates.to("a", &orders, mib(3), 1).call_bytes_max(), 2 * MIB, "the least holds");
        gates.begin_anew(|sink| sink == "b");
        for sink in ["a", "b"] {
            assert_eq!(gates.to(sink, &orders, mib(3), 1).call_bytes_max(), 3 * MIB);
        }
        assert_eq!(one.call_bytes_max(), 3 * MIB, "whoever has the gate follows");
        assert_eq!(other.call_bytes_max(), 2 * MIB, "of a sink that is gone, nobody");
    }

    /// Calls of a tenth of a second, one every ten seconds; the last one is throttled.
    #[tokio::test(start_paused = true)]
    async fn what_was_taken_while_somebody_sent_is_the_rate() {
        let gate = Gate::new(Rates::default(), 1);
        for call in 1..=20 {
            let mut passage = gate.pass(MIB).await;
            passage.built(MIB, 500);
            tokio::time::advance(Duration::from_millis(100)).await;
            passage.answered(Load::call(MIB, 500), call == 20);
            if call < 20 {
                tokio::time::advance(Duration::from_secs(10)).await;
            }
        }
        let learned = gate.call_bytes_max();
        assert!((7 * MIB..9 * MIB).contains(&learned), "four fifths of ten: {learned}");
    }

    #[tokio::test]
    async fn gates_that_nobody_uses_are_forgotten() {
        let mut gates = Gates::default();
        let orders: Arc<str> = "orders".into();
        let used = gates.to("a", &orders, mib(1), 1);
        drop(gates.to("b", &orders, mib(1), 1));
        gates.begin_anew(|_| false);
        assert_eq!(gates.0.len(), 1);
        drop(used);
        gates.begin_anew(|_| false);
        assert!(gates.0.is_empty());
    }
}
