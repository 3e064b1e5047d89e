#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "counts of a test, far below 2^32"
)]

use super::*;

const MIB: f64 = 1024.0 * 1024.0;
const RECORD_BYTES: usize = 50_000;
const LATENCY: Duration = Duration::from_millis(40);

/// A delivery stream that takes so much per second, with one second of it in advance, and refuses
/// the records of a call that are over.
struct Service {
    quota: Load,
    tokens: Load,
    filled: Instant,
}

impl Service {
    fn new(quota: Load, now: Instant) -> Self {
        Self { quota, tokens: quota, filled: now }
    }

    /// Takes of a call what it can; returns how many records that is.
    fn call(&mut self, records: usize, now: Instant) -> usize {
        let elapsed = (now - self.filled).as_secs_f64();
        self.filled = now;
        let fill = |tokens: f64, rate: f64| (tokens + rate * elapsed).min(rate);
        self.tokens = self.tokens.with(self.quota, fill);
        let enough = |tokens: Load, load: Load| tokens.0.iter().zip(load.0).all(|(t, l)| *t >= l);
        if !enough(self.tokens, Load([0.0, 0.0, 1.0])) {
            return 0;
        }
        self.tokens = self.tokens.with(Load([0.0, 0.0, 1.0]), |tokens, spent| tokens - spent);
        let record = Load([RECORD_BYTES as f64, 1.0, 0.0]);
        let mut taken = 0;
        while taken < records && enough(self.tokens, record) {
            self.tokens = self.tokens.with(record, |tokens, spent| tokens - spent);
            taken += 1;
        }
        taken
    }
}

/// What came of sending for a while.
#[derive(Debug, Default)]
struct Sent {
    seconds: f64,
    bytes: f64,
    records: usize,
    refused: usize,
    calls: usize,
}

impl Sent {
    /// Bytes taken per second, as a part of a rate.
    fn of(&self, bytes_per_second: f64) -> f64 {
        self.bytes / self.seconds / bytes_per_second
    }

    fn refused_share(&self) -> f64 {
        self.refused as f64 / self.records as f64
    }
}

/// Sends without a rest, one call after the other, for so long.
fn send(pace: &mut Pace, service: &mut Service, now: &mut Instant, seconds: u64) -> Sent {
    let end = *now + Duration::from_secs(seconds);
    let mut sent = Sent { seconds: seconds as f64, ..Sent::default() };
    while *now < end {
        pace.arrive(*now);
        let ready_at = pace.ready_at(*now);
        *now = ready_at;
        assert!(pace.ready_at(*now) <= *now, "who waits as told is let through");
        let records = (pace.call_bytes_max(*now).min(4_000_000) / RECORD_BYTES).clamp(1, 500);
        let admitted = pace.begin(Load::call(records * RECORD_BYTES, records), *now);
        let taken = service.call(records, *now);
        *now += LATENCY;
        pace.answered(admitted, Load::call(taken * RECORD_BYTES, taken), taken < records, *now);
        pace.leave(*now);
        sent.bytes += (taken * RECORD_BYTES) as f64;
        sent.records += records;
        sent.refused += records - taken;
        sent.calls += 1;
    }
    sent
}

fn bytes_quota(mib: f64) -> Load {
    Load([mib * MIB, 500_000.0, 2000.0])
}

/// A service whose quota changes, without a word, while somebody sends all that he can.
#[test]
fn the_rate_follows_a_quota_that_nobody_told() {
    for seed in 0..20 {
        let mut now = Instant::now();
        let mut pace = Pace::new(Rates::default(), seed, now);
        let mut service = Service::new(bytes_quota(5.0), now);
        for (mib, settle) in [(5.0, 10), (1.0, 10), (5.0, 60), (20.0, 60), (17.0, 60), (2.0, 20)] {
            service.quota = bytes_quota(mib);
            send(&mut pace, &mut service, &mut now, settle);
            let sent = send(&mut pace, &mut service, &mut now, 300);
            let (rate, refused) = (sent.of(mib * MIB), sent.refused_share());
            if seed == 0 {
                println!(
                    "quota {mib} MiB/s: {:.1} % of it used, {:.1} % of the records refused, {} calls",
                    rate * 100.0,
                    refused * 100.0,
                    sent.calls
                );
            }
            assert!((0.9..=1.01).contains(&rate), "seed {seed}, {mib} MiB/s: {sent:?}");
            assert!(refused < 0.03, "seed {seed}, {mib} MiB/s: {sent:?}");
        }
    }
}

#[test]
fn whatever_binds_is_found() {
    for (name, quota) in [
        ("records", Load([1000.0 * MIB, 100.0, 2000.0])),
        ("calls", Load([1000.0 * MIB, 500_000.0, 15.0])),
    ] {
        let mut now = Instant::now();
        let mut pace = Pace::new(Rates::default(), 3, now);
        let mut service = Service::new(quota, now);
        send(&mut pace, &mut service, &mut now, 20);
        let sent = send(&mut pace, &mut service, &mut now, 300);
        println!("{name}: {:.1} % refused", sent.refused_share() * 100.0);
        assert!(sent.refused_share() < 0.05, "{name}: {sent:?}");
        let rates = [sent.records - sent.refused, sent.calls].map(|n| n as f64 / 300.0);
        let limits = [quota.0[1], quota.0[2]];
        let used = rates.iter().zip(limits).map(|(rate, limit)| rate / limit).fold(0.0, f64::max);
        assert!(used > 0.85, "{name}: {used} of it used");
    }
}

#[test]
fn a_configured_quota_is_never_passed_and_nothing_is_throttled_below_it() {
    let mut now = Instant::now();
    let quota = Rates { bytes_per_second: Some(3 * 1024 * 1024), ..Rates::default() };
    let mut pace = Pace::new(quota, 1, now);
    let mut service = Service::new(bytes_quota(1000.0), now);
    let sent = send(&mut pace, &mut service, &mut now, 100);
    assert!((0.98..=1.02).contains(&sent.of(3.0 * MIB)), "{sent:?}");
    // In no second more than a second's worth and what a late timer may make up for.
    for _ in 0..100 {
        let sent = send(&mut pace, &mut service, &mut now, 1);
        assert!(sent.bytes <= 3.0 * MIB * 2.1, "{sent:?}");
    }
    // A rest is not saved up.
    now += Duration::from_secs(3600);
    let sent = send(&mut pace, &mut service, &mut now, 10);
    assert!(sent.calls <= 12, "ten, one for the credit and one at the end: {sent:?}");
}

#[test]
fn the_least_of_several_quotas_holds() {
    let now = Instant::now();
    let quota = |bytes| Rates { bytes_per_second: Some(bytes), ..Rates::default() };
    let mut pace = Pace::new(Rates::default(), 1, now);
    for bytes in [5_000_000, 1_000_000, 2_000_000] {
        pace.lower_quota(quota(bytes));
    }
    assert_eq!(pace.call_bytes_max(now), 1_000_000);
}

#[test]
fn an_outage_teaches_nothing_and_a_limit_is_forgotten() {
    let mut now = Instant::now();
    let mut pace = Pace::new(Rates::default(), 1, now);
    let mut service = Service::new(bytes_quota(2.0), now);
    send(&mut pace, &mut service, &mut now, 60);
    assert!(pace.learned.is_some());
    // A day on which every call is told to slow down, and none is taken.
    service.quota = Load::default();
    service.tokens = Load::default();
    for _ in 0..1440 {
        now += Duration::from_mins(1);
        let admitted = pace.begin(Load::call(65_536, 1), now);
        pace.answered(admitted, Load::default(), true, now);
    }
    assert!(pace.learned.is_none(), "{pace:?}");
    service.quota = bytes_quota(100.0);
    let sent = send(&mut pace, &mut service, &mut now, 10);
    assert!(sent.of(100.0 * MIB) > 0.75, "back at full rate at once: {sent:?}");
}

/// Many hosts that share a delivery stream and know nothing of each other.
#[test]
fn a_fleet_shares_a_quota_and_does_not_come_back_together() {
    const HOSTS: usize = 20;
    let start = Instant::now();
    let mut service = Service::new(bytes_quota(20.0), start);
    let mut hosts: Vec<(Pace, Instant, f64)> = (0..HOSTS)
        .map(|host| (Pace::new(Rates::default(), host as u64, start), start, 0.0))
        .collect();
    for (pace, _, _) in &mut hosts {
        pace.arrive(start);
    }
    let mut refused_in_second = vec![0_usize; 400];
    let (mut records_sent, mut refused) = (0, 0);
    loop {
        // Whose call is next in time.
        let (pace, now, bytes) = hosts.iter_mut().min_by_key(|(_, now, _)| *now).unwrap();
        let ready_at = pace.ready_at(*now);
        if ready_at > *now {
            *now = ready_at;
            continue;
        }
        let second = (*now - start).as_secs() as usize;
        if second >= 400 {
            break;
        }
        let records = (pace.call_bytes_max(*now).min(1_000_000) / RECORD_BYTES).max(1);
        let admitted = pace.begin(Load::call(records * RECORD_BYTES, records), *now);
        let taken = service.call(records, *now);
        let answered = *now + LATENCY;
        pace.answered(admitted, Load::call(taken * RECORD_BYTES, taken), taken < records, answered);
        *now = answered;
        if second >= 100 {
            *bytes += (taken * RECORD_BYTES) as f64;
            records_sent += records;
            refused += records - taken;
            refused_in_second[second] += usize::from(taken < records);
        }
    }
    let total: f64 = hosts.iter().map(|(_, _, bytes)| bytes).sum();
    let used = total / 300.0 / (20.0 * MIB);
    let shares = hosts.iter().map(|(_, _, bytes)| bytes / total * HOSTS as f64);
    let (least, most) = shares.fold((f64::MAX, 0.0_f64), |(l, m), s| (l.min(s), m.max(s)));
    let refused = refused as f64 / records_sent as f64;
    let together = refused_in_second.iter().max().unwrap();
    println!(
        "{HOSTS} hosts: {:.1} % of the quota used, {:.1} % refused, the least has {least:.2} and the \
         most {most:.2} of a fair share, at most {together} throttled in one second",
        used * 100.0,
        refused * 100.0
    );
    assert!(used > 0.85 && refused < 0.1, "used {used}, refused {refused}");
    assert!(least > 0.3 && most < 3.0, "from {least} to {most} of a fair share");
}

/// A pace that has just learned so many bytes per second, from half a second more than it needs.
fn learned(bytes_per_second: usize, seed: u64) -> (Pace, Instant) {
    let start = Instant::now();
    let mut pace = Pace::new(Rates::default(), seed, start);
    pace.arrive(start);
    let admitted = pace.begin(Load::default(), start);
    let busy = PACE_METER_MIN.mul_f64(1.5);
    let taken = Load([bytes_per_second as f64, 1000.0, 100.0].map(|rate| rate * 1.5));
    pace.answered(admitted, taken, true, start + busy);
    assert!(pace.learned.is_some());
    (pace, start + busy)
}

#[test]
fn after_throttling_the_rate_drops_comes_back_and_grows_ever_faster() {
    const RATE: usize = 1_000_000;
    let mut back = Vec::new();
    for seed in 0..200 {
        let (mut pace, since) = learned(RATE, seed);
        let part = |pace: &Pace, after| pace.call_bytes_max(since + after) as f64 / RATE as f64;
        assert!((part(&pace, Duration::ZERO) - PACE_CUT).abs() < 1e-3);
        // On average it is back after `PACE_RECOVERY`; a quarter of that sooner or later.
        let is_back = |part: f64| part >= 1.0;
        assert!(!is_back(part(&pace, PACE_RECOVERY.mul_f64(0.749))));
        assert!(is_back(part(&pace, PACE_RECOVERY.mul_f64(1.251))));
        back.push(is_back(part(&pace, PACE_RECOVERY)));
        let grown = [1.0, 2.0, 3.0, 4.0].map(|n| part(&pace, PACE_RECOVERY.mul_f64(n)));
        let steps: Vec<f64> = grown.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(steps.is_sorted(), "{grown:?}");
        // Until nobody remembers.
        assert!(pace.ready_at(since + PACE_RECOVERY * 7) <= since + PACE_RECOVERY * 7);
        assert!(pace.learned.is_none());
    }
    let back = back.into_iter().filter(|back| *back).count();
    assert!((60..=140).contains(&back), "{back} of 200 are back after the average time");
}

#[test]
fn a_rate_is_learned_from_so_much_time_and_no_less() {
    for (busy, rate) in [(PACE_METER_MIN, Some(400_000)), (PACE_METER_MIN * 9 / 10, None)] {
        let start = Instant::now();
        let mut pace = Pace::new(Rates::default(), 1, start);
        pace.arrive(start);
        let admitted = pace.begin(Load::default(), start);
        let now = start + busy;
        pace.answered(admitted, Load::call(500_000, 1000), true, now);
        assert_eq!(pace.learned.map(|_| pace.call_bytes_max(now)), rate);
    }
}

/// What a service takes of a moment says little: the second time it is only asked for less.
#[test]
fn who_is_throttled_again_soon_slows_down_and_later_by_what_was_taken() {
    for (busy, expected) in
        [(PACE_METER_MIN / 4, 640_000..700_000), (PACE_METER_MIN, 80_000..80_001)]
    {
        let (mut pace, now) = learned(1_000_000, 1);
        let soon = now + Duration::from_millis(1);
        let admitted = pace.begin(Load::default(), soon);
        pace.answered(admitted, Load::call(100_000, 1000), true, now + busy);
        let bytes = pace.call_bytes_max(now + busy);
        assert!(expected.contains(&bytes), "{busy:?}: {bytes}");
    }
}

#[test]
fn calls_that_began_before_the_rate_changed_do_not_change_it_again() {
    let (mut pace, now) = learned(1_000_000, 1);
    let admitted = pace.begin(Load::default(), now);
    let later = now + PACE_METER_MIN;
    let before = pace.call_bytes_max(later);
    pace.answered(admitted, Load::call(100_000, 1000), true, later);
    assert_eq!(pace.call_bytes_max(later), before);
}

#[test]
fn a_stream_that_sends_now_and_then_is_not_slow() {
    let mut now = Instant::now();
    let mut pace = Pace::new(Rates::default(), 1, now);
    for call in 1..=20 {
        pace.arrive(now);
        let admitted = pace.begin(Load::call(1_000_000, 500), now);
        now += Duration::from_millis(100);
        pace.answered(admitted, Load::call(1_000_000, 500), call == 20, now);
        pace.leave(now);
        now += Duration::from_secs(10);
    }
    // Ten megabytes in each second in which it had something to send.
    let bytes = pace.learned.expect("a rate").rates.bytes();
    assert!((9.9e6..=10.1e6).contains(&bytes), "{bytes}");
}

/// However short the times between them are: what it does not take says nothing of its rate.
#[test]
fn a_service_that_takes_nothing_teaches_nothing() {
    let (mut pace, mut now) = learned(1_000_000, 1);
    for _ in 0..30 {
        now += Duration::from_secs(10);
        let admitted = pace.begin(Load::call(65_536, 1), now);
        pace.answered(admitted, Load::default(), true, now);
    }
    assert!(pace.learned.is_none(), "{pace:?}");
}

#[test]
fn a_call_waits_as_long_as_its_predecessor_was_too_large_and_an_hour_where_nothing_may_go() {
    let now = Instant::now();
    let quota = |bytes| Rates { bytes_per_second: Some(bytes), ..Rates::default() };
    let mut pace = Pace::new(quota(1_000_000), 1, now);
    assert_eq!(pace.ready_at(now), now);
    pace.begin(Load::call(2_500_000, 1), now);
    let wait = pace.ready_at(now) - now;
    let expected = Duration::from_millis(2500);
    assert!(wait > expected && wait < expected + Duration::from_micros(1), "{wait:?}");
    let mut pace = Pace::new(quota(0), 1, now);
    pace.begin(Load::call(1, 1), now);
    assert_eq!(pace.ready_at(now), now + Duration::from_hours(1));
}
