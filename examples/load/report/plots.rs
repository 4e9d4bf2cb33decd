//! The report as plots.

use std::path::Path;

use plotters::prelude::*;

use super::{Figure, Gate, Report};
use crate::Result;
use crate::measure::curve;

const SIZE: (u32, u32) = (960, 540);

/// Draws all plots into a folder.
pub fn draw(report: &Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let gated: Vec<&Figure> = report
        .figures
        .iter()
        .filter(|figure| figure.passes().is_some())
        .collect();
    if !gated.is_empty() {
        gates(&gated, &folder.join("gates.svg"))?;
    }
    let mut runs: Vec<&str> = report
        .latencies
        .iter()
        .filter_map(|(name, _)| name.split('/').next())
        .collect();
    runs.dedup();
    for run in runs {
        let of_run: Vec<_> = report
            .latencies
            .iter()
            .filter(|(name, _)| name.split('/').next() == Some(run))
            .collect();
        let series: Vec<(String, Vec<(f64, f64)>)> = of_run
            .iter()
            .map(|(name, histogram)| (name.clone(), curve(histogram)))
            .collect();
        latency(run, &series, &folder.join(format!("latency-{run}.svg")))?;
    }
    Ok(())
}

/// Each figure relative to its gate: 1 is the gate itself, more is better.
fn gates(figures: &[&Figure], file: &Path) -> Result<()> {
    let margin = |figure: &Figure| {
        let value = figure.ratio.unwrap_or(figure.value);
        match figure.gate {
            Gate::AtLeast(least) => value / least,
            Gate::AtMost(most) => most / value.max(f64::MIN_POSITIVE),
            Gate::None => 1.0,
        }
        .clamp(0.0, 4.0)
    };
    let height = 80 + 34 * u32::try_from(figures.len())?;
    let root = SVGBackend::new(file, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let count = figures.len() as f64;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            "margin to each gate (1 = the gate, more is better, cut at 4)",
            ("sans-serif", 18),
        )
        .margin(16)
        .x_label_area_size(28)
        .build_cartesian_2d(0.0..4.0, 0.0..count)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .draw()?;
    for (row, figure) in figures.iter().rev().enumerate() {
        let row = row as f64;
        let color = if figure.passes() == Some(true) {
            RGBColor(120, 180, 120)
        } else {
            RGBColor(210, 110, 100)
        };
        chart.draw_series([Rectangle::new(
            [(0.0, row), (margin(figure), row + 0.9)],
            color.filled(),
        )])?;
        let label = format!("{}: {}", figure.run, figure.what);
        chart.draw_series([Text::new(
            label,
            (0.03, row + 0.7),
            ("sans-serif", 14).into_font(),
        )])?;
    }
    chart.draw_series(LineSeries::new(
        [(1.0, 0.0), (1.0, count)],
        BLACK.stroke_width(2),
    ))?;
    root.present()?;
    Ok(())
}

fn latency(run: &str, series: &[(String, Vec<(f64, f64)>)], file: &Path) -> Result<()> {
    let highest = series
        .iter()
        .flat_map(|(_, points)| points)
        .map(|(_, ms)| *ms)
        .fold(0.1, f64::max);
    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(
            format!("{run}: milliseconds by quantile"),
            ("sans-serif", 18),
        )
        .margin(16)
        .x_label_area_size(32)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..4.2, (0.01..highest * 1.2).log_scale())?;
    // Nines: 0 is all, 1 is 90 %, 2 is 99 %.
    let nines = |quantile: f64| (-(1.0 - quantile).max(1e-4).log10()).min(4.0);
    chart
        .configure_mesh()
        .x_labels(5)
        .x_label_formatter(&|nines| format!("{}", 100.0 * (1.0 - 10f64.powf(-nines))))
        .x_desc("percent as fast or faster")
        .y_desc("ms")
        .draw()?;
    for (index, (name, points)) in series.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let line = points
            .iter()
            .map(|(quantile, ms)| (nines(*quantile), ms.max(0.01)));
        chart
            .draw_series(LineSeries::new(line, color.stroke_width(2)))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}
