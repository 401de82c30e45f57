//! A row of the dashboard as SVG: each panel where the dashboard has it, over minutes since the beginning.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::prelude::*;

use super::panel::Panel;
use super::prometheus::Line;

/// What a column and a unit of height of Grafana's are, in pixels, and the space around a panel.
const COLUMN: u32 = 40;
const UNIT: u32 = 28;
const MARGIN: u32 = 6;

const FONT: &str = "sans-serif";

/// A line of a legend, and how wide a letter is at the most.
const LEGEND: u32 = 17;
const LETTER: u32 = 7;

/// Told apart by people who do not see all colours as well (Okabe and Ito), and two more.
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(110, 110, 110),
    RGBColor(140, 80, 20),
    RGBColor(90, 60, 160),
];
const INK: RGBColor = RGBColor(40, 40, 40);
const FAINT: RGBColor = RGBColor(228, 228, 228);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn failed(error: impl Display) -> anyhow::Error {
    anyhow!("{error}")
}

/// Draws the panels of a row, each over this many minutes.
pub fn row(path: &Path, panels: &[(&Panel, Vec<Line>)], minutes: f64) -> Result<()> {
    let top = panels.iter().map(|(panel, _)| panel.place[1]).min().context("a row without panels")?;
    let bottom = panels.iter().map(|(panel, _)| panel.place[1] + panel.place[3]).max().unwrap_or(top);
    let area = SVGBackend::new(path, (24 * COLUMN, (bottom - top) * UNIT)).into_drawing_area();
    area.fill(&WHITE).map_err(failed)?;
    for (panel, lines) in panels {
        let [x, y, width, height] = panel.place;
        let place = area.clone().shrink(
            (x * COLUMN + MARGIN, (y - top) * UNIT + MARGIN),
            (width * COLUMN - 2 * MARGIN, height * UNIT - 2 * MARGIN),
        );
        let place = place.titled(&panel.title, (FONT, 16).into_font().color(&INK)).map_err(failed)?;
        if panel.is_heatmap { heatmap(&place, lines, minutes)? } else { chart(&place, panel, lines, minutes)? }
    }
    area.present().map_err(failed)
}

fn chart(area: &Area<'_>, panel: &Panel, lines: &[Line], minutes: f64) -> Result<()> {
    let (width, height) = area.dim_in_pixel();
    let entries = legend(lines, width);
    let rows = entries.last().map_or(1, |(_, (_, row))| row + 1);
    let (upper, lower) = area.split_vertically(height.saturating_sub(rows * LEGEND));
    let values = || lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let highest = values().fold(0.0, f64::max) * 1.08;
    if panel.is_logarithmic {
        let lowest = values().filter(|value| *value > 0.0).fold(highest, f64::min);
        // From a power of ten on, which has a number beside it.
        curves(&upper, panel, lines, minutes, (10f64.powf(lowest.log10().floor())..highest).log_scale())?;
    } else {
        curves(&upper, panel, lines, minutes, 0.0..highest)?;
    }
    for (number, (name, (x, row))) in entries.into_iter().enumerate() {
        let (left, y) = (i32::try_from(x)?, i32::try_from(row * LEGEND)?);
        let colour = COLOURS[number % COLOURS.len()];
        lower.draw(&Rectangle::new([(left, y + 4), (left + 10, y + 12)], colour.filled())).map_err(failed)?;
        let style = (FONT, 13).into_font().color(&INK);
        lower.draw(&Text::new(name, (left + 15, y + 1), style)).map_err(failed)?;
    }
    Ok(())
}

/// The lines, with their axes.
fn curves<Y>(area: &Area<'_>, panel: &Panel, lines: &[Line], minutes: f64, y: Y) -> Result<()>
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    let mut context = ChartBuilder::on(area)
        .margin_right(20)
        .x_label_area_size(24)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..minutes, y)
        .map_err(failed)?;
    context
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(FAINT)
        .axis_style(FAINT)
        .x_labels(9)
        .y_labels(5)
        .label_style((FONT, 13).into_font().color(&INK))
        .x_label_formatter(&|minute| format!("{minute:.0} min"))
        .y_label_formatter(&|value| in_unit(*value, &panel.unit))
        .draw()
        .map_err(failed)?;
    for (number, line) in lines.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        // Where there is no value for a while there is no line.
        for part in line.points.chunk_by(|(before, _), (after, _)| after - before < 10.0) {
            // What is not there has no place on a logarithmic axis.
            let drawn = part.iter().filter(|(_, value)| !panel.is_logarithmic || *value > 0.0);
            let points = drawn.map(|(time, value)| (time / 60.0, *value));
            context.draw_series(LineSeries::new(points, colour.stroke_width(2))).map_err(failed)?;
        }
    }
    Ok(())
}

/// The names of the lines, each with its place: from the left, and in which line of the legend.
fn legend(lines: &[Line], width: u32) -> Vec<(String, (u32, u32))> {
    let (mut x, mut row) = (58, 0);
    let mut entries = Vec::new();
    for line in lines {
        let wide = 30 + LETTER * u32::try_from(line.name.chars().count()).unwrap_or(0);
        if x + wide > width && x > 58 {
            (x, row) = (58, row + 1);
        }
        entries.push((line.name.clone(), (x, row)));
        x += wide;
    }
    entries
}

/// How many requests took how long. A line is a bucket, and has those of all buckets below it as well.
fn heatmap(area: &Area<'_>, lines: &[Line], minutes: f64) -> Result<()> {
    let mut buckets: Vec<(f64, &Line)> =
        lines.iter().map(|line| (line.name.parse().unwrap_or(f64::INFINITY), line)).collect();
    buckets.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let mut counts: Vec<BTreeMap<u64, f64>> = Vec::new();
    let mut below: BTreeMap<u64, f64> = BTreeMap::new();
    for (_, line) in &buckets {
        let sums: BTreeMap<u64, f64> = line.points.iter().map(|(time, sum)| (time.to_bits(), *sum)).collect();
        let own = sums.iter().map(|(time, sum)| (*time, sum - below.get(time).copied().unwrap_or(0.0)));
        counts.push(own.filter(|(_, count)| *count > 0.01).collect());
        below = sums;
    }
    let most = counts.iter().flat_map(BTreeMap::values).fold(0.0, |most: f64, count| most.max(*count));
    // Buckets that nothing ever was in are not shown.
    let used = |count: &BTreeMap<u64, f64>| !count.is_empty();
    let first = counts.iter().position(used).unwrap_or(0);
    let last = counts.iter().rposition(used).map_or(buckets.len(), |last| last + 1);
    let mut context = ChartBuilder::on(area)
        .margin_right(20)
        .x_label_area_size(24)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..minutes, f64_of(first)..f64_of(last))
        .map_err(failed)?;
    let bound = |place: &f64| {
        let number = buckets.iter().enumerate().find(|(number, _)| (f64_of(number + 1) - place).abs() < 0.01);
        number.map_or(String::new(), |(_, (bound, _))| format!("≤ {}", in_unit(*bound, "s")))
    };
    context
        .configure_mesh()
        .disable_mesh()
        .axis_style(FAINT)
        .x_labels(9)
        .y_labels(last - first + 1)
        .label_style((FONT, 13).into_font().color(&INK))
        .x_label_formatter(&|minute| format!("{minute:.0} min"))
        .y_label_formatter(&bound)
        .draw()
        .map_err(failed)?;
    let step = lines.iter().flat_map(|line| line.points.windows(2)).map(|two| two[1].0 - two[0].0).fold(60.0, f64::min);
    for (number, count) in counts.iter().enumerate() {
        let cells = count.iter().map(|(time, count)| {
            let right = f64::from_bits(*time) / 60.0;
            let left = (right - step / 60.0).max(0.0);
            let colour = COLOURS[0].mix((count / most).sqrt().max(0.08));
            Rectangle::new([(left, f64_of(number)), (right, f64_of(number + 1))], colour.filled())
        });
        context.draw_series(cells).map_err(failed)?;
    }
    Ok(())
}

fn f64_of(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

/// A value with its unit, as Grafana calls that.
fn in_unit(value: f64, unit: &str) -> String {
    let plain = |value: f64| {
        let text = if value < 10.0 { format!("{value:.2}") } else { format!("{value:.1}") };
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match unit {
        "s" if value == 0.0 => "0".to_owned(),
        "s" if value == f64::INFINITY => "∞".to_owned(),
        "s" if value < 0.000_999 => format!("{} µs", plain(value * 1e6)),
        "s" if value < 0.999 => format!("{} ms", plain(value * 1e3)),
        "s" => format!("{} s", plain(value)),
        "reqps" | "cps" => format!("{}/s", plain(value)),
        _ => plain(value),
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use std::fs;

    use super::*;

    fn panel(title: &str, unit: &str, x: u32, is_heatmap: bool) -> Panel {
        let place = [x, 10, 12, 8];
        let (title, unit) = (title.to_owned(), unit.to_owned());
        Panel { title, unit, is_heatmap, is_logarithmic: false, place, targets: Vec::new() }
    }

    fn line(name: &str, values: &[f64]) -> Line {
        let points = values.iter().enumerate().map(|(number, value)| (f64_of(number) * 4.0, *value)).collect();
        Line { name: name.to_owned(), points }
    }

    #[test]
    fn a_picture_names_its_panels_lines_and_units() {
        let (requests, times) = (panel("Requests", "reqps", 0, false), panel("Times", "s", 12, true));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("row.svg");
        let lines = vec![line("READ KEYS", &[1.0, 3.0, 2.0]), line("RESERVE", &[0.0, 1.0, 0.0])];
        let buckets = vec![line("+Inf", &[2.0, 3.0]), line("0.0005", &[1.0, 1.0]), line("0.001", &[2.0, 2.0])];
        row(&path, &[(&requests, lines), (&times, buckets)], 8.0).expect("a picture");
        let svg = fs::read_to_string(path).expect("the picture");
        for words in ["Requests", "READ KEYS", "RESERVE", "Times", "/s", "≤ 500 µs", "≤ 1 ms", "≤ ∞"] {
            assert!(svg.contains(words), "no {words:?} in {svg}");
        }
        // One request in each of two buckets, and then one in each of three.
        let cells = svg.matches("fill=\"#0072B2\"").count();
        assert_eq!(cells, 1 + 5, "the first line's mark and the cells");
    }

    #[test]
    fn values_have_units_that_fit_them() {
        for (value, unit, text) in [
            (0.00025, "s", "250 µs"),
            (0.0125, "s", "12.5 ms"),
            (30.0, "s", "30 s"),
            (1.5, "reqps", "1.5/s"),
            (0.0, "short", "0"),
            (1024.0, "short", "1024"),
        ] {
            assert_eq!(in_unit(value, unit), text);
        }
    }
}
