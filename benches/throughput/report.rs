//! Medians and ratios of the rounds, as a table and as pictures.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::load::Sample;

/// The lines of a page between which the table stands.
const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// Samples of each contender, round by round.
#[derive(Default)]
pub struct Report {
    rows: Vec<(String, Vec<Sample>)>,
    /// Other things to know: versions, what was not measured.
    pub notes: Vec<String>,
    /// What is no rate.
    pub facts: Vec<Fact>,
}

/// A measured thing that is no rate of a round.
pub struct Fact {
    pub what: String,
    pub measured: String,
    pub goal: String,
    pub reached: bool,
}

/// A rate that should be reached.
pub struct AtLeast {
    pub of: &'static str,
    pub rate: f64,
}

/// A ratio that should be reached.
pub struct Goal {
    pub what: &'static str,
    pub of: &'static str,
    pub to: &'static str,
    pub at_least: f64,
}

// === impl Report ===

impl Report {
    pub fn add(&mut self, who: &str, sample: Sample) {
        match self.rows.iter_mut().find(|(name, _)| name == who) {
            Some((_, samples)) => samples.push(sample),
            None => self.rows.push((who.to_owned(), vec![sample])),
        }
    }

    fn samples(&self, who: &str) -> Option<&[Sample]> {
        self.rows.iter().find(|(name, _)| name == who).map(|(_, samples)| samples.as_slice())
    }

    /// The median of the rounds' ratios: what the machine does meanwhile meets both of a round.
    fn ratio(&self, of: &str, to: &str, what: impl Fn(&Sample) -> f64) -> Option<f64> {
        let (of, to) = (self.samples(of)?, self.samples(to)?);
        Some(median(of.iter().zip(to).map(|(of, to)| what(of) / what(to)).collect()))
    }

    pub fn markdown(&self, goals: &[Goal], rates: &[AtLeast]) -> String {
        let mut out = String::new();
        for note in &self.notes {
            let _ = writeln!(out, "- {note}");
        }
        let rounds = self.rows.first().map_or(0, |(_, samples)| samples.len());
        let _ = writeln!(out, "- medians of {rounds} rounds, in each of which every contender had its turn");
        let _ =
            writeln!(out, "\n| | a second | spread | median | p99 |\n| --- | ---: | ---: | ---: | ---: |");
        for (who, samples) in &self.rows {
            let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
            let (low, high) = rates.iter().fold((f64::MAX, 0.0_f64), |(l, h), r| (l.min(*r), h.max(*r)));
            let times = |of: fn(&Sample) -> Duration| {
                shown(median(samples.iter().map(|sample| of(sample).as_secs_f64()).collect()))
            };
            let _ = writeln!(
                out,
                "| {who} | {:.0} | {low:.0}–{high:.0} | {} | {} |",
                median(rates),
                times(|sample| sample.p50),
                times(|sample| sample.p99)
            );
        }
        let _ = writeln!(out, "\n| ratio | measured | goal | |\n| --- | ---: | ---: | --- |");
        for goal in goals {
            let Some(ratio) = self.ratio(goal.of, goal.to, |sample| sample.rate) else {
                let _ = writeln!(out, "| {} | not measured | {:.2} | |", goal.what, goal.at_least);
                continue;
            };
            let reached = if ratio >= goal.at_least { "reached" } else { "missed" };
            let _ = writeln!(out, "| {} | {ratio:.2} | {:.2} | {reached} |", goal.what, goal.at_least);
        }
        for AtLeast { of, rate } in rates {
            let Some(samples) = self.samples(of) else {
                let _ = writeln!(out, "| {of}, a second | not measured | {rate:.0} | |");
                continue;
            };
            let measured = median_rate(samples);
            let reached = if measured >= *rate { "reached" } else { "missed" };
            let _ = writeln!(out, "| {of}, a second | {measured:.0} | {rate:.0} | {reached} |");
        }
        for Fact { what, measured, goal, reached } in &self.facts {
            let reached = if *reached { "reached" } else { "missed" };
            let _ = writeln!(out, "| {what} | {measured} | {goal} | {reached} |");
        }
        if let Some(ratio) =
            self.ratio(crate::CACHED, crate::BARE, |sample| 1.0 / sample.p99.as_secs_f64().max(1e-9))
        {
            let reached = if 1.0 / ratio < 2.0 { "reached" } else { "missed" };
            let _ = writeln!(
                out,
                "| p99 of a cached GET to the bare handler's | {:.2} | < 2.00 | {reached} |",
                1.0 / ratio
            );
        }
        out
    }

    /// Writes the pictures, and the table into its place in the page.
    pub fn write(&self, docs: &Path, goals: &[Goal], rates: &[AtLeast]) -> std::io::Result<()> {
        let fast = |who: &&(String, Vec<Sample>)| median_rate(&who.1) > 10_000.0;
        let rows = |want: bool| self.rows.iter().filter(move |row| fast(row) == want);
        std::fs::write(docs.join("performance-cached.svg"), picture("Answers a second, cached", rows(true)))?;
        if rows(false).next().is_some() {
            std::fs::write(
                docs.join("performance-pwsh.svg"),
                picture("Answers a second, through PowerShell", rows(false)),
            )?;
        }
        let page = docs.join("performance.md");
        let text = std::fs::read_to_string(&page)?;
        let Some((before, rest)) = text.split_once(BEGIN) else { return Ok(()) };
        let Some((_, after)) = rest.split_once(END) else { return Ok(()) };
        std::fs::write(page, format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.markdown(goals, rates)))
    }
}

pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[middle] } else { (numbers[middle - 1] + numbers[middle]) / 2.0 }
}

fn median_rate(samples: &[Sample]) -> f64 {
    median(samples.iter().map(|sample| sample.rate).collect())
}

fn shown(seconds: f64) -> String {
    if seconds < 1e-3 { format!("{:.0} µs", seconds * 1e6) } else { format!("{:.1} ms", seconds * 1e3) }
}

/// Bars, drawn in the colour of the text around them.
fn picture<'a>(title: &str, rows: impl Iterator<Item = &'a (String, Vec<Sample>)>) -> String {
    let bars: Vec<(&str, f64)> = rows.map(|(who, samples)| (who.as_str(), median_rate(samples))).collect();
    let most = bars.iter().map(|(_, rate)| *rate).fold(1.0, f64::max);
    let height = 46 + bars.len() * 28;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" role=\"img\" aria-label=\"{title}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <style>text {{ fill: #222 }} rect {{ fill: #3b6ea5 }} @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} rect {{ fill: #7aa7d9 }} }}</style>\n\
         <text x=\"8\" y=\"22\" font-size=\"15\" font-weight=\"bold\">{title}</text>\n"
    );
    for (index, (who, rate)) in bars.iter().enumerate() {
        let (top, width) = (38 + index * 28, (rate / most * 330.0).max(1.0));
        let who = who.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            out,
            "<text x=\"330\" y=\"{}\" text-anchor=\"end\">{who}</text><rect x=\"340\" y=\"{top}\" width=\"{width:.0}\" height=\"18\" rx=\"2\"/><text x=\"{:.0}\" y=\"{}\">{rate:.0}</text>",
            top + 14,
            346.0 + width,
            top + 14
        );
    }
    out + "</svg>\n"
}
