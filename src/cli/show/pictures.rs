//! The pictures of a model.

use std::path::Path;

use ab_glyph::{Font, FontRef};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use unicode_normalization::char::is_combining_mark;

use super::activations::{Activations, BINS, Facts, SATURATED};
use crate::cli::report::canvas::{
    Area, AreaError, BLUE, COLOURS, INK, PlotError, SCALE, decimals, draw_legend, draw_stretch,
    font, name_line, png, range_of, scaled, stretches, style_mesh, thousands,
};
use crate::cli::report::metrics::RatiosRow;
use crate::model::params::Tensor;
use crate::model::plane::{Axes, Plane};
use crate::training::ratios::Ratio;

/// Size of the picture of the embeddings in pixels; its plot is a square.
const SQUARE: (u32, u32) = (780, 780);
/// Characters up to which each has a disc, as in the lecture; and up to which each is written at all.
const DISCS: usize = 100;
const WRITTEN: usize = 1000;
/// Radius of a disc in pixels.
const DISC: u32 = 10;
/// Size of the histogram, and of each part of the picture of the ratios.
const WIDE: (u32, u32) = (960, 480);
/// Examples in the saturation map, as in the lecture.
pub const ROWS: usize = 32;
/// With more records than this, each point of the ratios is the mean of several.
const POINTS: usize = 1000;

/// What each row of the embeddings is written as.
pub fn labels(characters: impl Iterator<Item = char>) -> Vec<String> {
    let dejavu = FontRef::try_from_slice(dejavu::sans::regular()).ok();
    let has_ink = |c: char| {
        let font = dejavu.as_ref();
        font.is_some_and(|font| {
            let glyph = font.glyph_id(c);
            glyph.0 != 0 && font.outline(glyph).is_some()
        })
    };
    characters
        .map(|c| match c {
            ' ' => "␣".to_owned(),
            c if has_ink(c) && !is_combining_mark(c) => c.to_string(),
            // Not in the font, without ink, or to be set on another character.
            c => format!("U+{:04X}", c as u32),
        })
        .collect()
}

/// The embeddings in the plane, each as its label.
///
/// # Errors
///
/// The file cannot be written.
pub fn embeddings(
    path: &Path,
    plane: &Plane,
    labels: &[String],
    what: &str,
) -> Result<(), PlotError> {
    let (title, x, y) = match plane.axes {
        Axes::ValueAndRow => (
            "Embeddings: one axis, and the rows".to_owned(),
            "C[:, 0]".to_owned(),
            "row".to_owned(),
        ),
        Axes::Both => (
            "Embeddings: the two axes".to_owned(),
            "C[:, 0]".to_owned(),
            "C[:, 1]".to_owned(),
        ),
        Axes::PrincipalComponents([first, second]) => {
            let component =
                |name, share| format!("{name} principal component ({:.1} %)", 100.0 * share);
            (
                format!(
                    "Embeddings: PCA, {:.1} % of the variance",
                    100.0 * (first + second)
                ),
                component("first", first),
                component("second", second),
            )
        }
    };
    let title = format!("{title}; {what}");
    let mut ranges = [
        range_of(plane.points.iter().map(|point| point.0)),
        range_of(plane.points.iter().map(|point| point.1)),
    ];
    if plane.axes != Axes::ValueAndRow {
        // The same scale on both, for distances to be those of the embeddings.
        let half = |range: &std::ops::Range<f64>| (range.end - range.start) / 2.0;
        let most = half(&ranges[0]).max(half(&ranges[1]));
        for range in &mut ranges {
            let middle = f64::midpoint(range.start, range.end);
            *range = middle - most..middle + most;
        }
    }
    png(path, SQUARE, |area| {
        let [across, up] = ranges;
        let pixel = (across.end - across.start) / f64::from(SQUARE.0 - 100);
        let mut chart = ChartBuilder::on(area)
            .caption(title, font(18))
            .margin(scaled(14))
            .x_label_area_size(scaled(50))
            .y_label_area_size(scaled(70))
            .build_cartesian_2d(across, up)?;
        mesh(&mut chart, (x.as_str(), y.as_str()))?;
        let middle = Pos::new(HPos::Center, VPos::Center);
        let points = || plane.points.iter().zip(labels);
        if labels.len() > WRITTEN {
            let dot = |&point| Circle::new(point, scaled(1), BLUE.filled());
            chart.draw_series(plane.points.iter().map(dot))?;
        } else if labels.len() > DISCS {
            let text = |(&point, label): (_, &String)| {
                Text::new(label.clone(), point, font(12).pos(middle))
            };
            chart.draw_series(points().map(text))?;
        } else {
            let discs = apart(&plane.points, 2.0 * f64::from(DISC) * pixel);
            for ((&point, &disc), label) in plane.points.iter().zip(&discs).zip(labels) {
                let ends = vec![point, disc];
                let leader = PathElement::new(ends, BLUE.stroke_width(scaled(1)));
                chart.draw_series(std::iter::once(leader))?;
                let dot = Circle::new(point, scaled(3), BLUE.filled());
                chart.draw_series(std::iter::once(dot))?;
                // Plotters sets text a little high.
                let (radius, at, style) = match label.chars().count() {
                    0..=1 => (DISC, (0, 2), font(14).color(&WHITE).pos(middle)),
                    // A code point is wider than a disc, and stands beside it.
                    _ => (3, (6, 1), font(11).pos(Pos::new(HPos::Left, VPos::Center))),
                };
                let at = (at.0 * SCALE as i32, at.1 * SCALE as i32);
                let labelled = EmptyElement::at(disc)
                    + Circle::new((0, 0), scaled(radius), BLUE.filled())
                    + Text::new(label.clone(), at, style);
                chart.draw_series(std::iter::once(labelled))?;
            }
        }
        Ok(())
    })
}

/// Where discs go, in order, so that none lies less than `distance` from another: at its point, or as near by as
/// a few rings around it allow. Where there is no room at all, a disc stays at its point.
fn apart(points: &[(f64, f64)], distance: f64) -> Vec<(f64, f64)> {
    const RINGS: u32 = 6;
    const ANGLES: u32 = 16;
    let mut placed: Vec<(f64, f64)> = Vec::with_capacity(points.len());
    for &(x, y) in points {
        let around = (1..=RINGS).flat_map(|ring| (0..ANGLES).map(move |angle| (ring, angle)));
        let around = around.map(|(ring, angle)| {
            let turn = std::f64::consts::TAU * f64::from(angle) / f64::from(ANGLES);
            let (sin, cos) = turn.sin_cos();
            let radius = distance * f64::from(ring) / 2.0;
            (x + radius * cos, y + radius * sin)
        });
        let is_free = |at: &(f64, f64)| {
            let far = |other: &(f64, f64)| (at.0 - other.0).hypot(at.1 - other.1) >= distance;
            placed.iter().all(far)
        };
        let free = std::iter::once((x, y)).chain(around).find(is_free);
        placed.push(free.unwrap_or((x, y)));
    }
    placed
}

/// The axes of a plot of numbers against numbers, with these names.
fn mesh<'b>(
    chart: &mut ChartContext<'_, BitMapBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    (x, y): (&str, &str),
) -> Result<(), AreaError<'b>> {
    let length = |range: std::ops::Range<f64>| range.end - range.start;
    let [across, up] = [length(chart.x_range()), length(chart.y_range())].map(decimals);
    let mut mesh = chart.configure_mesh();
    style_mesh(&mut mesh, 14);
    mesh.x_labels(9)
        .y_labels(9)
        .x_label_formatter(&|x| format!("{x:.across$}"))
        .y_label_formatter(&|y| format!("{y:.up$}"))
        .x_desc(x)
        .y_desc(y)
        .draw()
}

/// How the activations are spread over -1 to 1.
///
/// # Errors
///
/// The file cannot be written.
pub fn histogram(path: &Path, activations: &Activations, facts: &Facts) -> Result<(), PlotError> {
    let density = activations.density();
    let title = format!(
        "tanh: mean {:+.2}, std {:.2}, {:.2} % saturated; {} examples",
        facts.mean,
        facts.std,
        100.0 * facts.saturated,
        thousands(facts.examples)
    );
    let top = 1.05 * density.iter().copied().fold(0.0, f64::max);
    png(path, WIDE, |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, font(18))
            .margin(scaled(14))
            .x_label_area_size(scaled(50))
            .y_label_area_size(scaled(70))
            .build_cartesian_2d(-1.0..1.0, 0.0..top)?;
        mesh(&mut chart, ("h", "density"))?;
        let edge = |bin: usize| 2.0 * bin as f64 / BINS as f64 - 1.0;
        let bar = |(bin, &high): (usize, &f64)| {
            Rectangle::new([(edge(bin), 0.0), (edge(bin + 1), high)], BLUE.filled())
        };
        chart.draw_series(density.iter().enumerate().map(bar))?;
        Ok(())
    })
}

/// Room around the saturation map: at the edges, for the title, and for the labels.
const MARGIN: u32 = 14;
const TITLE: u32 = 34;
const LABELS: u32 = 60;

/// `plt.imshow(h.abs() > 0.99, cmap='gray')` of the first examples: white where a unit is saturated.
///
/// # Errors
///
/// The file cannot be written.
pub fn saturation(path: &Path, activations: &Activations) -> Result<(), PlotError> {
    let (map, share) = activations.saturation(ROWS);
    let (hidden, rows) = (activations.hidden(), map.len() / activations.hidden());
    let title = format!(
        "tanh: white where |h| > {SATURATED}, {:.2} % of {rows} examples and {hidden} units",
        100.0 * share
    );
    // Square as in the lecture, unless the units are very many, or so few that nothing would be seen.
    let wide = (1200 / hidden as u32).clamp(1, 16);
    let (width, height) = (wide * hidden as u32, wide.max(6) * rows as u32);
    let size = (
        (width + LABELS + 3 * MARGIN).max(700),
        height + TITLE + 2 * LABELS / 3 + MARGIN,
    );
    png(path, size, |area| {
        let at = (scaled(MARGIN) as i32, scaled(MARGIN) as i32);
        area.draw(&Text::new(title, at, font(16)))?;
        let (left, top) = (LABELS + MARGIN, TITLE + MARGIN);
        let plot = area.clone().margin(
            scaled(top) as i32,
            scaled(size.1 - top - height) as i32,
            scaled(left) as i32,
            scaled(size.0 - left - width) as i32,
        );
        plot.fill(&BLACK)?;
        let cell = (scaled(wide) as i32, scaled(height / rows as u32) as i32);
        for (i, _) in map.iter().enumerate().filter(|(_, saturated)| **saturated) {
            let (x, y) = ((i % hidden) as i32 * cell.0, (i / hidden) as i32 * cell.1);
            let corners = [(x, y), (x + cell.0, y + cell.1)];
            plot.draw(&Rectangle::new(corners, WHITE.filled()))?;
        }
        // A frame, since what is saturated is as white as the page.
        let [x, y] = [left, top].map(|place| scaled(place) as i32);
        let [right, bottom] = [left + width, top + height].map(|place| scaled(place) as i32);
        let frame = [(x - 1, y - 1), (right, bottom)];
        area.draw(&Rectangle::new(frame, INK.stroke_width(SCALE)))?;
        let label =
            |text: String, at: (i32, i32), pos| area.draw(&Text::new(text, at, font(13).pos(pos)));
        let below = bottom + scaled(8) as i32;
        let gap = scaled(8) as i32;
        let [to_left, to_right] = [HPos::Left, HPos::Right].map(|h| Pos::new(h, VPos::Top));
        label("unit 0".to_owned(), (x, below), to_left)?;
        if width > 150 {
            label((hidden - 1).to_string(), (right, below), to_right)?;
        }
        let side = |v| Pos::new(HPos::Right, v);
        label("example 0".to_owned(), (x - gap, y), side(VPos::Top))?;
        label(
            (rows - 1).to_string(),
            (x - gap, bottom),
            side(VPos::Bottom),
        )
    })
}

/// The update-to-data ratios over the steps, as in the lecture, and the gradient-to-data ratios below.
///
/// # Errors
///
/// The file cannot be written.
pub fn ratios(path: &Path, rows: &[RatiosRow]) -> Result<(), PlotError> {
    let update = |ratio: &Ratio| ratio.log10_update_to_data;
    let grad = |ratio: &Ratio| ratio.grad_to_data.map(f64::log10);
    let each = rows.len().div_ceil(POINTS).max(1);
    let mean = match each {
        1 => String::new(),
        each => format!(", mean of {each} records"),
    };
    let steps = rows.last().map_or(0, |row| row.step) as usize;
    png(path, (WIDE.0, 2 * WIDE.1), |area| {
        let (above, below) = area.split_vertically(scaled(WIDE.1));
        let title = format!("Update-to-data ratios{mean}; the lecture aims for -3");
        let lines = Lines::of(rows, each, &update);
        lines.draw(
            &above,
            &title,
            "log10 (lr * grad).std() / data.std()",
            steps,
            Some(-3.0),
        )?;
        let title = format!("Gradient-to-data ratios{mean}");
        let lines = Lines::of(rows, each, &grad);
        lines.draw(&below, &title, "log10 grad.std() / data.std()", steps, None)
    })
}

/// A line for each tensor, by step.
struct Lines(Vec<(Tensor, Vec<(usize, f64)>)>);

impl Lines {
    /// The means over each `each` rows of what `value` gives of a ratio; not finite where it gives nothing.
    fn of(rows: &[RatiosRow], each: usize, value: &dyn Fn(&Ratio) -> Option<f64>) -> Self {
        let line = |tensor: Tensor| -> Vec<(usize, f64)> {
            let point = |rows: &[RatiosRow]| {
                let ratios = rows.iter().filter_map(|row| row.ratios.get(tensor.name()));
                let values: Vec<f64> = ratios.filter_map(value).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                (rows[0].step as usize, mean)
            };
            rows.chunks(each).map(point).collect()
        };
        // The gradient of b1 is rounding: batch norm takes b1 off again.
        let drawn = Tensor::ALL
            .into_iter()
            .filter(|&tensor| tensor != Tensor::B1);
        Self(drawn.map(|tensor| (tensor, line(tensor))).collect())
    }

    fn draw<'a>(
        &self,
        area: &Area<'a>,
        title: &str,
        y_desc: &str,
        steps: usize,
        level: Option<f64>,
    ) -> Result<(), AreaError<'a>> {
        let values = self.0.iter().flat_map(|(_, line)| line);
        let up = range_of(values.map(|point| point.1).chain(level));
        let across = 0..steps.max(1);
        let decimals = decimals(up.end - up.start);
        let mut chart = ChartBuilder::on(area)
            .caption(title, font(18))
            .margin(scaled(14))
            .margin_right(scaled(30))
            .x_label_area_size(scaled(50))
            .y_label_area_size(scaled(70))
            .build_cartesian_2d(across.clone(), up)?;
        let mut mesh = chart.configure_mesh();
        style_mesh(&mut mesh, 14);
        mesh.x_labels(9)
            .y_labels(9)
            .x_label_formatter(&|x| thousands(*x))
            .y_label_formatter(&|y| format!("{y:.decimals$}"))
            .x_desc("step")
            .y_desc(y_desc)
            .draw()?;
        if let Some(level) = level {
            let ends = vec![(across.start, level), (across.end, level)];
            let line = PathElement::new(ends, BLACK.stroke_width(scaled(1)));
            chart.draw_series(std::iter::once(line))?;
        }
        for ((tensor, line), colour) in self.0.iter().zip(COLOURS) {
            let style = colour.stroke_width(SCALE * 3 / 2);
            for stretch in stretches(line) {
                draw_stretch(&mut chart, stretch, style)?;
            }
            name_line(&mut chart, tensor.name(), style)?;
        }
        draw_legend(&mut chart)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::activations::tests::activations;
    use super::*;
    use crate::cli::report::canvas::tests::decode;

    #[test]
    fn the_saturation_map_has_a_row_for_each_example() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("map.png");
        saturation(&path, &activations()).unwrap();
        let (width, _, pixels) = decode(&path);
        let cell = |row: u32, unit: u32| {
            let (x, y) = (
                LABELS + MARGIN + 16 * unit + 8,
                TITLE + MARGIN + 16 * row + 8,
            );
            pixels[(y * width + x) as usize * 3]
        };
        // Two units and five examples, all saturated but for the first unit in the second example.
        for (row, unit) in (0..5).flat_map(|row| [(row, 0), (row, 1)]) {
            let expected = if (row, unit) == (1, 0) { 0 } else { 255 };
            assert_eq!(cell(row, unit), expected, "example {row}, unit {unit}");
        }
    }

    #[test]
    fn ratios_are_drawn_in_the_colours_of_their_tensors_over_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ratios.png");
        let number = |value: f64| Some(value);
        let ratio = |step: u64| Ratio {
            grad_std: number(0.1),
            data_std: number(1.0),
            grad_to_data: number(0.1),
            log10_update_to_data: number(-2.0 - step as f64 / 10.0).filter(|_| step != 5),
        };
        let rows = |tensor: Tensor| -> Vec<RatiosRow> {
            let row = |step| RatiosRow {
                step,
                ratios: BTreeMap::from([(tensor.name().to_owned(), ratio(step))]),
            };
            (0..10).map(row).collect()
        };
        let count = |rows: &[RatiosRow], colour: RGBColor| {
            ratios(&path, rows).unwrap();
            let (_, _, pixels) = decode(&path);
            let (rgb, _) = pixels.as_chunks::<3>();
            let colour = [colour.0, colour.1, colour.2];
            rgb.iter().filter(|pixel| **pixel == colour).count()
        };
        // The legend alone has some forty pixels of each colour.
        assert!(count(&rows(Tensor::C), COLOURS[0]) > 800, "no curve");
        // In the third colour, if it were; that is W2's, which has no values here.
        assert!(count(&rows(Tensor::B1), COLOURS[2]) < 200, "b1 is drawn");
        assert!(count(&rows(Tensor::C), BLACK) > 600, "no line at -3");
        ratios(&path, &[]).unwrap();
    }

    #[test]
    fn characters_without_a_picture_are_shown_as_code_points() {
        let texts = labels(". a\u{301}\u{200b}\t中é\u{10ffff}".chars());
        let expected = [
            ".", "␣", "a", "U+0301", "U+200B", "U+0009", "U+4E2D", "é", "U+10FFFF",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn discs_lie_apart_and_lonely_ones_at_their_points() {
        let points = [(0.0, 0.0), (0.1, 0.0), (5.0, 5.0), (0.0, 0.1), (0.0, 0.0)];
        let discs = apart(&points, 1.0);
        assert_eq!((discs[0], discs[2]), (points[0], points[2]));
        for (i, a) in discs.iter().enumerate() {
            for b in &discs[..i] {
                assert!((a.0 - b.0).hypot(a.1 - b.1) >= 1.0, "{discs:?}");
            }
        }
    }
}
