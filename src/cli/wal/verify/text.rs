//! The report in words.

use std::fmt::Write as _;

use super::report::{Damaged, Report, Segment, Span, Start, StreamReport};
use crate::cli::human;
use crate::cli::output::Style;
use crate::cli::wal::look::Agent;

pub(in crate::cli::wal) fn render(report: &Report, colors: bool) -> String {
    let mut text = String::new();
    for stream in &report.streams {
        text.push('\n');
        render_stream(&mut text, stream, report.agent, colors);
    }
    let pool = &report.pool;
    if pool.files > 0 {
        let (files, frames) = (counted(pool.files, "segment"), counted(pool.frames, "frame"));
        line(
            &mut text,
            format_args!("\npool: {files} to be written again, with {frames} of before"),
        );
    }
    let (bytes, took) = (human::bytes(report.bytes), human::age(report.seconds.max(0.001)));
    let rate = rate(report.bytes, report.seconds);
    line(&mut text, format_args!("\nread {bytes} in {took}{rate}"));
    text
}

/// `, 1.9 GiB/s`, where it took long enough to say so.
fn rate(bytes: u64, seconds: f64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = bytes as f64 / seconds;
    if seconds < 0.01 {
        return String::new();
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive")]
    let whole = rate as u64;
    format!(", {}/s", human::bytes(whole))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _written = writeln!(text, "{line}").is_ok();
}

fn render_stream(text: &mut String, stream: &StreamReport, agent: Agent, colors: bool) {
    let paint = |style: Style, word: &str| {
        if colors { style.paint(word) } else { word.to_owned() }
    };
    let verdict =
        if stream.clean { paint(Style::Good, "clean") } else { paint(Style::Bad, "damaged") };
    let (events, frames) = (counted(stream.events, "event"), counted(stream.frames, "frame"));
    let segments = counted(stream.segments.len() as u64, "segment");
    let (name, size) = (&stream.stream, human::bytes(stream.bytes));
    line(text, format_args!("{name}: {verdict}; {events} in {frames}, {segments}, {size}"));
    if let Some(durable) = stream.durable {
        let durable = human::count(durable);
        line(text, format_args!("  checked up to offset {durable}, which is what is durable"));
    }
    for segment in &stream.segments {
        render_segment(text, segment);
    }
    for name in &stream.useless {
        line(text, format_args!("  {name}: no segment of this log"));
    }
    if stream.lost.len() > 1 {
        let lost = counted(stream.lost_events, "event");
        line(text, format_args!("  {}: {lost} in all", paint(Style::Bad, "lost")));
    }
    if stream.trimmed_meanwhile > 0 {
        let trimmed = counted(stream.trimmed_meanwhile, "segment");
        line(text, format_args!("  {trimmed} went meanwhile, because they were delivered"));
    }
    if agent == Agent::Stopped {
        render_start(text, &stream.next_start);
    }
}

/// `offsets 10 to 20 (10 events)`.
fn events_of(span: &Span) -> String {
    format!("offsets {} to {} ({})", span.from, span.until, counted(span.count(), "event"))
}

/// `1 event`, `2,000 events`.
fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", human::count(count))
}

fn render_segment(text: &mut String, segment: &Segment) {
    let name = &segment.name;
    if segment.header_damaged {
        line(text, format_args!("  {name}: the header is damaged; read by its frames"));
    }
    for damage in &segment.damage {
        let Damaged { bytes, offsets, .. } = damage;
        let place = if bytes.count() == 0 {
            format!("at byte {} the file ends too early", bytes.from)
        } else {
            format!("bytes {} to {} are damaged", bytes.from, bytes.until)
        };
        line(text, format_args!("  {name}: {place}{}", cost(damage, offsets)));
    }
    for gap in &segment.gaps {
        let gap = events_of(gap);
        line(text, format_args!("  {name}: {gap} were left out knowingly by an earlier recovery"));
    }
    for lost in &segment.taken_out {
        let lost = events_of(lost);
        line(text, format_args!("  {name}: {lost} are lost; a repair took the damage out"));
    }
    if segment.superseded_frames > 0 {
        let frames = counted(segment.superseded_frames, "frame");
        line(
            text,
            format_args!("  {name}: {frames} not believed; the next segment holds the events"),
        );
    }
}

/// What damage costs.
fn cost(damage: &Damaged, offsets: &Span) -> String {
    let mut parts = Vec::new();
    if damage.lost.count() > 0 {
        parts.push(format!("{} are lost", events_of(&damage.lost)));
    }
    if damage.unproven.count() > 0 {
        parts.push(format!("{} were never proven durable", events_of(&damage.unproven)));
    }
    let delivered = offsets.count() - damage.lost.count() - damage.unproven.count();
    if delivered > 0 {
        parts.push(format!("{} of the events were delivered before", human::count(delivered)));
    }
    if parts.is_empty() {
        parts.push("nothing proves that they were ever durable".to_owned());
    }
    format!(": {}", parts.join("; "))
}

fn render_start(text: &mut String, start: &Start) {
    let mut deeds = Vec::new();
    if start.rewritten_events > 0 {
        let events = counted(start.rewritten_events, "event");
        deeds.push(format!("write {events} again that nothing proves durable"));
    }
    if start.unproven_bytes > 0 {
        let bytes = human::bytes(start.unproven_bytes);
        deeds.push(format!("keep {bytes} that cannot be read in quarantine/"));
    }
    if !start.damaged_headers.is_empty() {
        let names = start.damaged_headers.join(", ");
        deeds.push(format!("keep the damaged header of {names} in quarantine/"));
    }
    if !start.set_aside.is_empty() {
        deeds.push(format!("move {} to quarantine/", start.set_aside.join(", ")));
    }
    if !start.removed.is_empty() {
        deeds.push(format!("remove the unfinished {}", start.removed.join(", ")));
    }
    if let Some(gap) = &start.gap {
        deeds.push(format!("leave out offsets {} to {}: they were delivered", gap.from, gap.until));
    }
    if start.new_log_id {
        deeds.push("give the log a new id".to_owned());
    }
    let next = human::count(start.next);
    if deeds.is_empty() {
        line(text, format_args!("  the next start changes nothing; the next offset is {next}"));
    } else {
        line(text, format_args!("  the next start will: {}", deeds.join("; ")));
        line(text, format_args!("  the next offset is {next}"));
    }
}
