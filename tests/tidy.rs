//! The style that a machine can keep: sizes, arrows between modules, registration of plug-ins.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test: what it cannot read is its failure"
)]

use std::fs;
use std::path::{Path, PathBuf};

const LINES_MAX: usize = 400;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below the folders that hold code, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> =
        ["src", "wal", "tests", "benches", "fuzz/fuzz_targets"].map(|f| root().join(f)).into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 50, "the folders of the code were not found");
    found.sort();
    found
}

fn assert_none(what: &str, bad: &[String]) {
    assert!(bad.is_empty(), "{what}:\n{}", bad.join("\n"));
}

#[test]
fn no_file_is_longer_than_one_idea() {
    let long = |(path, text): &(PathBuf, String)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines", path.display()))
    };
    let bad: Vec<_> = sources().iter().filter_map(long).collect();
    assert_none("files over 400 lines: split them by idea", &bad);
}

#[test]
fn modules_are_named_after_what_they_hold() {
    let named = |(path, _): &(PathBuf, String)| {
        let name = path.file_name().unwrap().to_str().unwrap();
        ["mod.rs", "util.rs", "utils.rs", "helpers.rs", "common.rs"]
            .contains(&name)
            .then(|| path.display().to_string())
    };
    let bad: Vec<_> = sources().iter().filter_map(named).collect();
    assert_none("foo.rs beside foo/, and no drawer for odds and ends", &bad);
}

/// Who may not know whom. The data goes one way, and no stage holds a handle to the one before it.
const ARROWS: [(&str, &[&str]); 5] = [
    ("src/source", &["journal", "router", "uploader", "sink", "offsets", "agent", "cli"]),
    ("src/sink", &["source", "intake", "journal", "router", "uploader", "offsets", "agent", "cli"]),
    ("src/journal", &["source", "router", "uploader", "sink", "agent", "cli"]),
    ("src/router", &["source", "intake", "agent", "cli"]),
    ("src/uploader", &["source", "intake", "agent", "cli"]),
];

/// Whether a text names this module of the crate, and not another one that begins like it.
fn names_module(text: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    let mut rests = text.split(&path).skip(1);
    rests.any(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

#[test]
fn a_stage_does_not_know_the_stages_before_it() {
    let mut bad = Vec::new();
    for (path, text) in sources() {
        let shown = path.to_str().unwrap();
        for (module, forbidden) in ARROWS {
            if shown != format!("{module}.rs") && !shown.starts_with(&format!("{module}/")) {
                continue;
            }
            for other in forbidden {
                if names_module(&text, other) {
                    bad.push(format!("{shown} knows {other}"));
                }
            }
        }
        let wal = shown.starts_with("wal/src");
        if wal && ["tokio::", "tracing::", "standpipe::"].iter().any(|name| text.contains(name)) {
            bad.push(format!("{shown} knows a runtime, a logger or the agent"));
        }
    }
    assert_none("arrows against the data's direction", &bad);
}

/// What decides how the pipeline behaves, and must come through `src/world.rs`: what takes another way
/// cannot be simulated.
const OF_THE_WORLD: [&str; 8] = [
    "spawn_blocking",
    "std::thread",
    "thread::Builder",
    "std::time::Instant",
    "OsEntropy",
    "getrandom",
    "fastrand::u64(",
    "Rng::new()",
];

#[test]
fn the_pipeline_has_no_thread_clock_or_chance_of_its_own() {
    let pipeline = [
        "src/intake",
        "src/journal",
        "src/offsets",
        "src/router",
        "src/uploader",
        "src/dead_letters",
        "src/agent/",
    ];
    let mut bad = Vec::new();
    let mut seen = 0;
    for (path, text) in sources() {
        let shown = path.to_str().unwrap();
        // sled brings its own threads, whatever is done around it.
        let exempt = shown.contains("/tests") || shown.contains("/sled_store");
        if exempt || !pipeline.iter().any(|part| shown.starts_with(part)) {
            continue;
        }
        seen += 1;
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let found = OF_THE_WORLD.iter().filter(|name| code.contains(**name));
        bad.extend(found.map(|name| format!("{shown} has {name}")));
    }
    assert!(seen > 30, "the pipeline was not found");
    assert_none("to be taken from the world", &bad);
}

#[test]
fn every_kind_is_in_its_list() {
    let all = sources();
    for (folder, implements, list) in [
        ("src/source/", "impl Source for", "src/source.rs"),
        ("src/sink/", "impl SinkConfig for", "src/sink.rs"),
    ] {
        let (_, list) = all.iter().find(|(path, _)| path == Path::new(list)).unwrap();
        let kinds = list.split_once("KINDS").expect("a list of kinds").1;
        let mut seen = 0;
        for (path, text) in &all {
            if path.starts_with(folder) && text.contains(implements) {
                let module = path.file_stem().unwrap().to_str().unwrap();
                let entry = format!("{module}::");
                assert!(kinds.contains(&entry), "{} is not in {folder}'s KINDS", path.display());
                seen += 1;
            }
        }
        assert!(seen >= 2, "no kinds were found below {folder}");
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Put together here so that this file does not find itself.
    let words: Vec<String> = [("to", "do!("), ("unimple", "mented!("), ("FIX", "ME"), ("XX", "X")]
        .map(|(start, end)| format!("{start}{end}"))
        .into();
    let ignored = format!("#[{}", "ignore");
    let mut bad = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let found = words.iter().any(|word| line.contains(word.as_str()));
            if found || line.trim_start().starts_with(&ignored) {
                bad.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert_none("unfinished or skipped", &bad);
}

#[test]
fn what_the_readme_links_to_is_there() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let mut links = 0;
    for (target, _) in readme.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
        if !target.starts_with("http") && !target.starts_with('#') {
            assert!(root().join(target).exists(), "README.md links to {target}: not there");
            links += 1;
        }
    }
    assert!(links > 4, "the README names the specifications");
}
