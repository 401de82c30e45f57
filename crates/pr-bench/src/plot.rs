//! Plots for people: SVG, 800 pixels wide.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::prelude::*;

use super::figure::Figure;
use super::isolation;
use super::memory;
use pr_measure::request::Request;
use pr_measure::subject::{BOUND, OURS, THEIRS};

const SIZE: (u32, u32) = (800, 460);
const FONT: &str = "sans-serif";

/// Told apart by people who do not see all colours as well.
const COLOURS: [RGBColor; 4] =
    [RGBColor(0, 114, 178), RGBColor(213, 94, 0), RGBColor(0, 158, 115), RGBColor(86, 180, 233)];

/// A line: its name, its colour among [`COLOURS`], its points.
type Line = (String, usize, Vec<(f64, f64)>);

struct Plot {
    file: &'static str,
    title: &'static str,
    x: &'static str,
    y: &'static str,
    /// Whether the horizontal axis is logarithmic.
    log: bool,
    lines: Vec<Line>,
}

/// Draws what the figures are enough for; each file's name and what it shows.
pub fn draw(figures: &[Figure], folder: &Path) -> Result<Vec<(&'static str, &'static str)>> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let mut drawn = Vec::new();
    for plot in plots(figures) {
        if plot.lines.iter().any(|(_, _, points)| points.len() > 1) {
            let path = folder.join(plot.file);
            plot.draw(&path).with_context(|| format!("{} cannot be drawn", path.display()))?;
            drawn.push((plot.file, plot.title));
        }
    }
    Ok(drawn)
}

fn plots(figures: &[Figure]) -> [Plot; 5] {
    let by_subject = |row: &str, scale: f64| -> Vec<Line> {
        let subjects = [OURS, THEIRS, BOUND].into_iter().enumerate();
        subjects.map(|(colour, name)| (name.to_owned(), colour, points(figures, row, name, scale))).collect()
    };
    let connections = "connections, one outstanding request each (logarithmic)";
    let requests = |request: Request, file, title| Plot {
        file,
        title,
        x: connections,
        y: "requests per second, thousands",
        log: true,
        lines: by_subject(request.name(), 1e-3),
    };
    [
        requests(Request::In, "requests-in.svg", "PERSISTENT RESERVE IN: requests per second"),
        requests(Request::Out, "requests-out.svg", "PERSISTENT RESERVE OUT: requests per second"),
        Plot {
            file: "growth-cost.svg",
            title: "What one request costs, server and client together",
            x: connections,
            y: "microseconds for each request",
            log: true,
            lines: by_subject(memory::COST, 1.0),
        },
        Plot {
            file: "growth-memory.svg",
            title: "Resident memory, children included",
            x: "connections",
            y: "megabytes (RSS)",
            log: true,
            lines: by_subject(memory::RESIDENT, 1.0 / 1024.0),
        },
        isolation(figures),
    ]
}

/// The only one with two lines for one subject, and with lines that end where the answers end.
fn isolation(figures: &[Figure]) -> Plot {
    let mut lines: Vec<Line> = Vec::new();
    for (colour, subject, row, part) in [
        (0, OURS, isolation::MEDIAN, "p50"),
        (3, OURS, isolation::SLOWEST, "p99"),
        (1, THEIRS, isolation::SLOWEST, "p99"),
        (2, BOUND, isolation::SLOWEST, "p99"),
    ] {
        let silent =
            figures.iter().any(|figure| figure.row == row && figure.median(subject).is_some_and(f64::is_infinite));
        let remark = if silent { ": no answer beside hung commands" } else { "" };
        lines.push((format!("{subject}, {part}{remark}"), colour, points(figures, row, subject, 1.0)));
    }
    Plot {
        file: "isolation.svg",
        title: "A healthy client beside commands that hang on a dead device",
        x: "commands that hang",
        y: "latency of the healthy client, microseconds",
        log: false,
        lines,
    }
}

/// A subject's medians by load; where there was no answer there is no point.
fn points(figures: &[Figure], row: &str, subject: &str, scale: f64) -> Vec<(f64, f64)> {
    let of_row = figures.iter().filter(|figure| figure.row == row);
    let point = |figure: &Figure| Some((f64::from(figure.load?), figure.median(subject)? * scale));
    of_row.filter_map(point).filter(|(_, y)| y.is_finite()).collect()
}

impl Plot {
    fn draw(&self, path: &Path) -> Result<()> {
        let last = self.points().map(|(x, _)| x).fold(1.0, f64::max);
        if self.log {
            // A little more than the last value, so that its mark is whole.
            self.draw_over(path, (1.0..last * 1.1).log_scale())
        } else {
            self.draw_over(path, 0.0..last * 1.02)
        }
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        self.lines.iter().flat_map(|(_, _, points)| points.iter().copied())
    }

    fn draw_over<X>(&self, path: &Path, x: X) -> Result<()>
    where
        X: plotters::coord::ranged1d::AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let failed = |error: &dyn std::fmt::Display| anyhow!("{error}");
        // Room above the lines for their names.
        let rows = u32::try_from(self.lines.len())?;
        let top = self.points().map(|(_, y)| y).fold(0.0, f64::max) * (1.1 + 0.08 * f64::from(rows));
        let area = SVGBackend::new(path, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(|error| failed(&error))?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.title, (FONT, 20))
            .margin(12)
            .margin_right(24)
            .x_label_area_size(48)
            .y_label_area_size(64)
            .build_cartesian_2d(x, 0.0..top)
            .map_err(|error| failed(&error))?;
        let number = |value: &f64| format!("{value:.0}");
        chart
            .configure_mesh()
            .x_desc(self.x)
            .y_desc(self.y)
            .axis_desc_style((FONT, 15))
            .label_style((FONT, 14))
            .light_line_style(WHITE)
            .x_label_formatter(&number)
            .y_label_formatter(&|value| if top < 8.0 { format!("{value:.1}") } else { number(value) })
            .draw()
            .map_err(|error| failed(&error))?;
        for (name, colour, points) in &self.lines {
            let colour = COLOURS[*colour];
            let line = LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3);
            let series = chart.draw_series(line).map_err(|error| failed(&error))?;
            series.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 24, y)], colour.stroke_width(3)));
        }
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperLeft).margin(8).legend_area_size(32).label_font((FONT, 14));
        legend.background_style(WHITE).border_style(RGBColor(190, 190, 190)).draw().map_err(|error| failed(&error))?;
        area.present().map_err(|error| failed(&error))
    }
}

#[cfg(test)]
#[expect(clippy::missing_panics_doc, reason = "a test is there to panic")]
mod tests {
    use super::*;

    #[test]
    fn a_plot_names_its_axes_with_units_and_its_lines() {
        let mut figures = Vec::new();
        for load in [1, 16, 1000] {
            let mut figure = Figure::new("PR IN", Some(load), "requests/s");
            for name in [OURS, THEIRS, BOUND] {
                figure.push(name, 20_000.0);
            }
            figures.push(figure);
        }
        let folder = tempfile::tempdir().expect("a folder");
        let drawn = draw(&figures, folder.path()).expect("a plot");
        assert_eq!(drawn, [("requests-in.svg", "PERSISTENT RESERVE IN: requests per second")]);
        let svg = fs::read_to_string(folder.path().join("requests-in.svg")).expect("the plot");
        for words in
            ["requests per second, thousands", "connections, one outstanding request each", OURS, THEIRS, BOUND]
        {
            assert!(svg.contains(words), "no {words:?}");
        }
    }

    #[test]
    fn where_there_was_no_answer_there_is_no_point_and_the_legend_says_so() {
        let mut figures = Vec::new();
        for (hung, theirs) in [(0, 40.0), (96, f64::INFINITY)] {
            let mut figure = Figure::new(isolation::SLOWEST, Some(hung), "µs");
            figure.push(OURS, 50.0);
            figure.push(THEIRS, theirs);
            figures.push(figure);
        }
        let plot = isolation(&figures);
        let (name, _, points) = &plot.lines[2];
        assert_eq!(
            (name.as_str(), points.as_slice()),
            ("C helper, p99: no answer beside hung commands", &[(0.0, 40.0)][..])
        );
    }
}
