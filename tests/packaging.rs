//! What the packages ship beside the program: examples that work, man pages, completions. How the
//! packages install and run is tested by `packaging/test`, in machines that are booted.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and sets the environment of the program it starts"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn standpipe(args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_standpipe"));
    let output = command.args(args).env_clear().output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging")
}

#[test]
fn every_example_is_a_right_configuration() {
    let mut seen = 0;
    for entry in fs::read_dir(packaging().join("examples")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let shown = path.to_str().unwrap();
            assert!(standpipe(&["check", "--config", shown]).contains("data_dir"), "{shown}");
            let readme = fs::read_to_string(packaging().join("../docs/OPERATIONS.md")).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            assert!(readme.contains(name), "docs/OPERATIONS.md does not name {name}");
            seen += 1;
        }
    }
    assert!(seen >= 5, "the examples were not found");
}

#[test]
fn there_is_a_man_page_for_each_command() {
    let dir = tempfile::tempdir().unwrap();
    let written = standpipe(&["manual", dir.path().to_str().unwrap()]);
    let pages: Vec<_> = written.lines().map(|path| fs::read_to_string(path).unwrap()).collect();
    assert!(pages.iter().all(|page| page.contains(".TH ") && page.contains(".SH SYNOPSIS")));
    for name in ["standpipe.1", "standpipe-run.1", "standpipe-wal-stat.1"] {
        assert!(dir.path().join(name).exists(), "{name}");
    }
    assert!(!dir.path().join("standpipe-manual.1").exists(), "that one is for packagers");
}

#[test]
fn shells_can_complete_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = standpipe(&["completions", shell]);
        assert!(script.contains("wal") && script.contains("log-format"), "{shell}");
    }
}

#[test]
fn the_units_and_the_configuration_name_the_same_sockets() {
    let unit = fs::read_to_string(packaging().join("systemd/standpipe.socket")).unwrap();
    let mut held: Vec<_> =
        unit.lines().filter_map(|line| line.strip_prefix("ListenStream=")).collect();
    let built_in = standpipe(&["check", "--config", "/dev/null", "--json"]);
    let built_in: serde_json::Value = serde_json::from_str(&built_in).unwrap();
    let sources = built_in["config"]["source"].as_array().unwrap();
    let mut doors: Vec<_> = sources
        .iter()
        .filter_map(|source| source.get("path").or(source.get("listen"))?.as_str())
        .collect();
    held.sort_unstable();
    doors.sort_unstable();
    assert_eq!(held, doors);
}

fn operations() -> String {
    fs::read_to_string(packaging().join("../docs/OPERATIONS.md")).unwrap()
}

#[test]
fn the_alerts_that_the_manual_explains_are_those_that_fire() {
    let rules = fs::read_to_string(packaging().join("prometheus/standpipe.rules.yml")).unwrap();
    let mut fire: Vec<(&str, &str)> = Vec::new();
    for line in rules.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("- alert: ") {
            fire.push((name, "none"));
        } else if let Some(severity) = line.strip_prefix("labels: {severity: ") {
            fire.last_mut().unwrap().1 = severity.trim_end_matches('}');
        }
    }
    let manual = operations();
    let mut explained: Vec<(&str, &str)> = manual
        .lines()
        .filter_map(|line| line.strip_prefix("| `Standpipe").and(line.strip_prefix("| `")))
        .map(|row| {
            let mut cells = row.split(" | ");
            (cells.next().unwrap().trim_end_matches('`'), cells.next().unwrap())
        })
        .collect();
    fire.sort_unstable();
    explained.sort_unstable();
    assert!(fire.len() > 10, "the rules were not found: {fire:?}");
    assert_eq!(explained, fire);
}

#[test]
fn the_manual_names_every_variable_of_the_commands() {
    let manual = operations();
    for name in standpipe::config::environment::COMMAND_VARIABLES {
        assert!(manual.contains(&format!("| `{name}` |")), "docs/OPERATIONS.md lacks {name}");
    }
}

#[test]
fn the_readme_names_every_command() {
    let readme = fs::read_to_string(packaging().join("../README.md")).unwrap();
    let help = standpipe(&["--help"]);
    let commands = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        let shown = readme.contains(&format!("| `standpipe {command}"));
        assert!(shown || command == "help", "README.md lacks {command}");
    }
}
