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
        let (files, frames) = (human::count(pool.files), human::count(pool.frames));
        line(
            &mut text,
            format_args!(
                "\npool: {files} trimmed segments wait to be written again; {frames} frames of \
                 their last life are whole"
            ),
        );
    }
    let (bytes, took) = (human::bytes(report.bytes), human::age(report.seconds));
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
    let (events, frames) = (human::count(stream.events), human::count(stream.frames));
    let segments = human::count(stream.segments.len() as u64);
    let size = human::bytes(stream.bytes);
    line(
        text,
        format_args!(
            "{}: {verdict}; {events} events in {frames} frames, {segments} segments, {size}",
            stream.stream
        ),
    );
    for segment in &stream.segments {
        render_segment(text, segment);
    }
    for name in &stream.useless {
        line(text, format_args!("  {name}: no segment of this log"));
    }
    for span in &stream.lost {
        line(text, format_args!("  {}: {}", paint(Style::Bad, "lost"), events_of(span)));
    }
    if stream.trimmed_meanwhile > 0 {
        let trimmed = human::count(stream.trimmed_meanwhile);
        line(text, format_args!("  {trimmed} segments were delivered and removed meanwhile"));
    }
    if agent == Agent::Stopped {
        render_start(text, &stream.next_start);
    }
}

/// `offsets 10 to 20 (10 events)`.
fn events_of(span: &Span) -> String {
    let events = human::count(span.count());
    format!("offsets {} to {} ({events} events)", span.from, span.until)
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
    if segment.superseded_frames > 0 {
        let frames = human::count(segment.superseded_frames);
        line(
            text,
            format_args!("  {name}: {frames} frames of a failed write; the next segment has them"),
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
        let events = human::count(start.rewritten_events);
        deeds.push(format!("write {events} events again that are not proven durable"));
    }
    if start.unproven_bytes > 0 {
        let bytes = human::bytes(start.unproven_bytes);
        deeds.push(format!("keep {bytes} that cannot be read in quarantine/"));
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
    let next = start.next;
    if deeds.is_empty() {
        line(text, format_args!("  the next start changes nothing; the next offset is {next}"));
    } else {
        line(text, format_args!("  the next start will: {}", deeds.join("; ")));
        line(text, format_args!("  the next offset is {next}"));
    }
}
