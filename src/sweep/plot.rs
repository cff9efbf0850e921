//! Validation loss against each swept option, as a picture and in the terminal.

use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use super::report::{deviation, mean};
use super::{loss, short};
use crate::files::write_atomic;
use crate::report::PlotError;
use crate::report::plot::{FONT, INK, SCALE, average_down, encode, load_font};

/// Size of the picture of one option in pixels.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 420;
/// Size of its plot in the terminal in Braille dots: two in a letter's width, four in its height.
const DOTS: (u32, u32) = (120, 48);

/// Each model, and the mean over those of the same value.
const MODEL: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const MEAN: RGBColor = RGBColor(0xff, 0x7f, 0x0e);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);

/// An option, and what came of its values.
pub struct Axis {
    /// Its name.
    pub name: &'static str,
    /// Whether the axis is logarithmic.
    pub log: bool,
    /// Whether its values were drawn from a range.
    pub drawn: bool,
    /// Value and validation loss of each model that has one.
    pub points: Vec<(f64, f64)>,
}

/// Where the points lie: with the logarithm of the values if the axis is logarithmic.
struct Placed {
    points: Vec<(f64, f64)>,
    /// The mean of the losses at each value, in order.
    means: Vec<(f64, f64)>,
    /// Standard deviation of a sample of the losses at each value; none of a single one.
    deviations: Vec<Option<f64>>,
    /// Lowest and highest place, with some air around.
    x: (f64, f64),
    /// The same of the losses.
    y: (f64, f64),
    /// Models whose loss is far above all others.
    left_out: usize,
}

impl Placed {
    /// What a picture says below its title, if anything.
    fn note(&self) -> Option<String> {
        match self.left_out {
            0 => None,
            1 => Some("1 model far above is left out".to_owned()),
            n => Some(format!("{n} models far above are left out")),
        }
    }
}

impl Axis {
    /// A value's place.
    fn place(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    /// The value at a place, in as many digits as a label needs.
    fn label(&self, place: f64) -> String {
        let value = if self.log { 10f64.powf(place) } else { place };
        short(format!("{value:.2e}").parse().unwrap_or(value))
    }

    /// Places of the labels of the picture: the values themselves if they were listed and are few,
    /// else round numbers; none so near another that their labels would touch.
    fn ticks(&self, placed: &Placed) -> Vec<f64> {
        const FEW: usize = 8;
        let (from, to) = placed.x;
        let mut places: Vec<f64> = placed.means.iter().map(|&(x, _)| x).collect();
        let round = self.drawn || places.len() > FEW;
        if round && self.log {
            let decades = from.floor() as i32..=to.ceil() as i32;
            places = decades
                .flat_map(|decade| [1.0, 2.0, 5.0].map(|n: f64| n.log10() + f64::from(decade)))
                .collect();
        } else if round {
            let decade = 10f64.powf((to - from).log10().floor());
            let sizes = [0.1, 0.2, 0.5, 1.0].map(|n| n * decade);
            let fits = |step: &f64| (to - from) / step <= FEW as f64;
            let step = sizes.into_iter().find(fits).unwrap_or(decade);
            let first = (from / step).ceil() as i64;
            places = (first..first + 2 * FEW as i64)
                .map(|i| i as f64 * step)
                .collect();
        }
        let mut last = f64::NEG_INFINITY;
        places.retain(|&place| {
            let fits = (from..=to).contains(&place) && place - last > 0.08 * (to - from);
            if fits {
                last = place;
            }
            fits
        });
        places
    }

    fn placed(&self) -> Placed {
        let mut points: Vec<(f64, f64)> = self
            .points
            .iter()
            .map(|&(value, loss)| (self.place(value), loss))
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        // A model that all but diverged would press all others into one line.
        let mut losses: Vec<f64> = points.iter().map(|&(_, loss)| loss).collect();
        losses.sort_by(f64::total_cmp);
        let quarter = |part: usize| losses.get(part * losses.len().saturating_sub(1) / 4);
        let [low, middle, high] = [1, 2, 3].map(|part| quarter(part).copied().unwrap_or(0.0));
        let most = high + 3.0 * (high - low).max(0.01 * middle);
        let before = points.len();
        points.retain(|&(_, loss)| loss <= most);
        let (mut means, mut deviations) = (Vec::new(), Vec::new());
        for same in points.chunk_by(|a, b| a.0 == b.0) {
            let losses: Vec<f64> = same.iter().map(|&(_, loss)| loss).collect();
            means.extend(mean(&losses).map(|mean| (same[0].0, mean)));
            deviations.push(deviation(&losses));
        }
        // The ends of the error bars, which can lie beyond all models.
        let bars = means.iter().zip(&deviations).flat_map(|(&(_, mean), std)| {
            let std = std.unwrap_or(0.0);
            [mean - std, mean + std]
        });
        let range = |values: &mut dyn Iterator<Item = f64>| {
            let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            });
            match high - low {
                size if size > 0.0 => (low - 0.05 * size, high + 0.05 * size),
                0.0 => (low - 0.5, high + 0.5),
                _ => (0.0, 1.0),
            }
        };
        Placed {
            x: range(&mut points.iter().map(|&(x, _)| x)),
            y: range(&mut points.iter().map(|&(_, y)| y).chain(bars)),
            left_out: before - points.len(),
            points,
            means,
            deviations,
        }
    }
}

/// Whether a line through the means says something: many values with a model each are a cloud.
fn has_line(placed: &Placed) -> bool {
    placed.means.len() < placed.points.len()
}

/// The plot for a terminal.
pub fn terminal(axis: &Axis) -> String {
    let placed = axis.placed();
    let scale = if axis.log { ", log scale" } else { "" };
    let title = format!("val loss against {}{scale}", axis.name);
    if placed.points.is_empty() {
        return format!("{title}: no model has a loss");
    }
    let (width, height) = DOTS;
    let to_dot = |(x, y): (f64, f64)| (x as f32, y as f32);
    // A cross for each model, for one dot is hard to see.
    let dot = (
        (placed.x.1 - placed.x.0) / f64::from(width),
        (placed.y.1 - placed.y.0) / f64::from(height),
    );
    let crosses: Vec<(f32, f32)> = placed
        .points
        .iter()
        .flat_map(|&(x, y)| {
            let around = [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)];
            around.map(|(dx, dy)| to_dot((x + dx * dot.0, y + dy * dot.1)))
        })
        .collect();
    let means: Vec<(f32, f32)> = placed.means.iter().copied().map(to_dot).collect();
    let (crosses, line) = (Shape::Points(&crosses), Shape::Lines(&means));
    let (x, y) = (to_dot(placed.x), to_dot(placed.y));
    let mut chart = Chart::new_with_y_range(width, height, x.0, x.1, y.0, y.1);
    let (name, log) = (axis.name, axis.log);
    let label = move |place: f32| {
        let axis = Axis {
            name,
            log,
            drawn: false,
            points: Vec::new(),
        };
        axis.label(place.into())
    };
    let chart = chart.x_label_format(LabelFormat::Custom(Box::new(label)));
    let chart = chart.y_label_format(LabelFormat::Custom(Box::new(|y| loss(y.into()))));
    let chart = chart.lineplot(&crosses);
    let chart = if has_line(&placed) {
        chart.lineplot(&line)
    } else {
        chart
    };
    chart.borders();
    chart.figures();
    let mut title = title;
    if has_line(&placed) {
        title += "; the line joins the means";
    }
    if let Some(note) = placed.note() {
        title = format!("{title}; {note}");
    }
    // Dots that are not set are spaces for a terminal, and empty Braille letters for the library.
    format!("{title}\n{chart}").replace('\u{2800}', " ")
}

/// Draws all options into one picture.
///
/// # Errors
///
/// The file cannot be written.
pub fn png(path: &Path, axes: &[Axis]) -> Result<(), PlotError> {
    let columns = axes.len().clamp(1, 2) as u32;
    let rows = (axes.len() as u32).div_ceil(columns).max(1);
    let (width, height) = (columns * WIDTH, rows * HEIGHT);
    let draw_error = |reason: String| PlotError::Draw {
        path: path.to_path_buf(),
        reason,
    };
    load_font().map_err(draw_error)?;
    let mut large = vec![0; (width * SCALE * height * SCALE * 3) as usize];
    {
        let size = (width * SCALE, height * SCALE);
        let area = BitMapBackend::with_buffer(&mut large, size).into_drawing_area();
        area.fill(&WHITE).map_err(|e| draw_error(e.to_string()))?;
        let panels = area.split_evenly((rows as usize, columns as usize));
        for (axis, panel) in axes.iter().zip(&panels) {
            draw(panel, axis).map_err(|e| draw_error(e.to_string()))?;
        }
        area.present().map_err(|e| draw_error(e.to_string()))?;
    }
    let small = average_down(&large, width as usize);
    let png = encode(&small, width, height).map_err(|e| draw_error(e.to_string()))?;
    write_atomic(path, |w| w.write_all(&png))?;
    Ok(())
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
type AreaError<'a> = DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

/// A linear axis with labels at places of our choice.
struct Horizontal {
    places: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Ranged for Horizontal {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.places.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.places.range()
    }
}

fn draw<'a>(area: &Area<'a>, axis: &Axis) -> Result<(), AreaError<'a>> {
    let scaled = |pixels: u32| pixels * SCALE;
    let font = |size: u32| (FONT, scaled(size)).into_font().color(&INK);
    let placed = axis.placed();
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Validation loss against {}", axis.name), font(18))
        .margin(scaled(14))
        .margin_right(scaled(32))
        .x_label_area_size(scaled(46))
        .y_label_area_size(scaled(66))
        .build_cartesian_2d(
            Horizontal {
                places: (placed.x.0..placed.x.1).into(),
                ticks: axis.ticks(&placed),
            },
            placed.y.0..placed.y.1,
        )?;
    let x_desc = match axis.log {
        true => format!("{} (log scale)", axis.name),
        false => axis.name.to_owned(),
    };
    // In words below the axis: a legend inside would hide models.
    let x_desc = match has_line(&placed) {
        true => format!("{x_desc}; orange: mean ± standard deviation"),
        false => x_desc,
    };
    let x_desc = match placed.note() {
        Some(note) => format!("{x_desc}; {note}"),
        None => x_desc,
    };
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE))
        .axis_style(INK.stroke_width(SCALE))
        .set_all_tick_mark_size(scaled(4))
        .y_label_offset(scaled(2))
        .x_labels(6)
        .y_labels(7)
        .x_label_formatter(&|x| axis.label(*x))
        .y_label_formatter(&|y| loss(*y))
        .label_style(font(13))
        .axis_desc_style(font(15))
        .x_desc(x_desc)
        .y_desc("val loss, nats")
        .draw()?;
    chart.draw_series(
        placed
            .points
            .iter()
            .map(|&point| Circle::new(point, scaled(3), MODEL.mix(0.6).filled())),
    )?;
    if has_line(&placed) {
        let line = MEAN.stroke_width(scaled(2));
        chart.draw_series(
            placed
                .means
                .windows(2)
                .map(|piece| PathElement::new(piece.to_vec(), line)),
        )?;
        // Three strokes: from end to end, and a cap at each, as wide as six pixels.
        let cap = 6.0 / f64::from(WIDTH) * (placed.x.1 - placed.x.0);
        let bars = placed.means.iter().zip(&placed.deviations);
        let strokes = bars.filter_map(|(&(x, mean), &std)| Some((x, mean, std?)));
        let strokes = strokes.flat_map(|(x, mean, std)| {
            let (low, high) = (mean - std, mean + std);
            let cap_at = |y| vec![(x - cap, y), (x + cap, y)];
            [vec![(x, low), (x, high)], cap_at(low), cap_at(high)]
        });
        chart.draw_series(strokes.map(|stroke| PathElement::new(stroke, line)))?;
        chart.draw_series(
            placed
                .means
                .iter()
                .map(|&point| Circle::new(point, scaled(4), MEAN.filled())),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(log: bool, points: &[(f64, f64)]) -> Axis {
        Axis {
            name: "lr",
            log,
            drawn: false,
            points: points.to_vec(),
        }
    }

    #[test]
    fn means_are_taken_at_each_value() {
        let placed = axis(true, &[(0.1, 3.0), (0.01, 2.0), (0.1, 5.0)]).placed();
        assert_eq!(placed.means, [(-2.0, 2.0), (-1.0, 4.0)]);
        assert!(has_line(&placed));
    }

    #[test]
    fn error_bars_are_within_the_picture() {
        let placed = axis(false, &[(1.0, 2.0), (1.0, 4.0), (2.0, 3.0)]).placed();
        let std = 2.0_f64.sqrt();
        assert!((placed.deviations[0].unwrap() - std).abs() < 1e-12);
        assert_eq!(placed.deviations[1], None);
        assert!(
            placed.y.0 < 3.0 - std && placed.y.1 > 3.0 + std,
            "{:?}",
            placed.y
        );
    }

    #[test]
    fn error_bars_are_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        // Rows of the picture with the colour of the means.
        let rows = |points: &[(f64, f64)]| {
            png(&path, &[axis(false, points)]).unwrap();
            let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
            let mut reader = ::png::Decoder::new(file).read_info().unwrap();
            let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
            reader.next_frame(&mut pixels).unwrap();
            let mean = |pixel: &[u8]| pixel == [MEAN.0, MEAN.1, MEAN.2];
            pixels
                .chunks((3 * WIDTH) as usize)
                .filter(|row| row.chunks(3).any(mean))
                .count()
        };
        // The line is level: what is tall is the bar of the first value, and the second has none.
        let spread = rows(&[(1.0, 2.0), (1.0, 4.0), (2.0, 3.0)]);
        assert!(spread > HEIGHT as usize / 2, "{spread} rows");
        let alike = rows(&[(1.0, 3.0), (1.0, 3.0), (2.0, 3.0)]);
        assert!(alike < 16, "{alike} rows");
    }

    #[test]
    fn a_loss_far_above_the_others_does_not_press_them_together() {
        let mut points: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 2.0)).collect();
        points.push((9.0, 1e20));
        let placed = axis(false, &points).placed();
        assert!(placed.y.1 < 10.0 && placed.x.1 < 9.0, "{:?}", placed.y);
        assert_eq!(placed.left_out, 1);
    }

    #[test]
    fn labels_are_the_values_or_round_numbers() {
        let labels = |log: bool, values: &[f64]| -> Vec<String> {
            let points: Vec<(f64, f64)> = values.iter().map(|&v| (v, 2.0)).collect();
            let axis = axis(log, &points);
            let ticks = axis.ticks(&axis.placed());
            ticks.into_iter().map(|place| axis.label(place)).collect()
        };
        assert_eq!(labels(true, &[0.05, 0.1, 0.3]), ["0.05", "0.1", "0.3"]);
        let many: Vec<f64> = (1..=40).map(|i| f64::from(i) * 0.013).collect();
        assert_eq!(
            labels(false, &many),
            ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]
        );
        let log = labels(true, &many);
        assert_eq!(log, ["0.02", "0.05", "0.1", "0.2", "0.5"]);
    }

    #[test]
    fn odd_results_are_drawn_without_a_panic() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        let cases: [&[(f64, f64)]; 5] = [
            &[],
            &[(1.0, 2.0)],
            &[(1.0, 2.0), (1.0, 2.0)],
            &[(1.0, 1e30), (2.0, 2.0)],
            &[(1e-30, 2.0), (1e30, 2.5)],
        ];
        for points in cases {
            for log in [false, true] {
                let axis = axis(log, points);
                assert!(terminal(&axis).starts_with("val loss against lr"));
                png(&path, &[axis]).unwrap();
            }
        }
        png(&path, &[]).unwrap();
    }
}
