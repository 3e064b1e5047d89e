//! Collects the numbers of all runs and prints median and spread.

use std::collections::BTreeMap;

/// One measured quantity over all runs.
#[derive(Debug, Default)]
struct Series {
    unit: &'static str,
    values: Vec<f64>,
}

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Report {
    json: bool,
    series: BTreeMap<String, Series>,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, series: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, name: &str, unit: &'static str, value: f64) {
        let series = self.series.entry(name.to_owned()).or_default();
        series.unit = unit;
        series.values.push(value);
        println!("    {name:<46} {value:>12.3} {unit}");
    }

    pub(crate) fn print(&self) {
        println!(
            "\n{:<50} {:>10} {:>10} {:>10}  unit",
            "median of the runs", "median", "min", "max"
        );
        for (name, series) in &self.series {
            let mut sorted = series.values.clone();
            sorted.sort_by(f64::total_cmp);
            let median = sorted[sorted.len() / 2];
            let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
            println!("{name:<50} {median:>10.3} {min:>10.3} {max:>10.3}  {}", series.unit);
        }
        if self.json {
            let raw: BTreeMap<_, _> = self.series.iter().map(|(n, s)| (n, &s.values)).collect();
            println!("{}", serde_json::to_string(&raw).unwrap());
        }
    }
}
