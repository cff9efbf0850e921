//! `loss.png`: the lecture's picture of the loss, with the validation losses beside it; and the same picture
//! with the curves of several runs.

use std::path::Path;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::canvas::{
    Area, AreaError, BLUE, COLOURS, INK, ORANGE, PlotError, SCALE, decimals, draw_legend,
    draw_stretch, font, name_line, png, range_of, scaled, stretches, style_mesh, thousands,
};
use crate::training::curve::LossCurve;
use crate::training::log::Validation;

/// Size of the picture in pixels.
const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;

/// Validation losses that are drawn at most: more would run into each other.
const MANY: usize = 200;

/// A run in a picture of several.
pub struct CurveOfRun<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// [`LossCurve::points`]
    pub points: &'a [(usize, f64)],
    /// Its validation losses.
    pub validation: &'a [Validation],
}

/// What is drawn.
struct Picture {
    caption: String,
    /// Steps of the longest run.
    steps: usize,
    curves: Vec<Curve>,
}

/// A line of training losses and dots of validation losses.
struct Curve {
    /// Not finite where a loss is not, or is zero.
    points: Vec<(usize, f64)>,
    /// log10 of validation losses by step, all of them finite.
    validation: Vec<(usize, f64)>,
    line: RGBColor,
    dots: RGBColor,
    /// What the legend says of the line.
    label: String,
    /// What it says of the dots, if they have an entry of their own.
    dots_label: Option<&'static str>,
}

impl Picture {
    fn of_run(curve: &LossCurve, validation: &[Validation]) -> Self {
        let training = match curve.bucket() {
            1 => "training".to_owned(),
            n => format!("training, mean of {} steps", thousands(n as usize)),
        };
        Self {
            caption: "Loss over the training run".to_owned(),
            steps: curve.steps() as usize,
            curves: vec![Curve {
                points: curve.points(),
                validation: thinned(validation),
                line: BLUE,
                dots: ORANGE,
                label: training,
                dots_label: Some("validation"),
            }],
        }
    }

    fn of_runs(runs: &[CurveOfRun<'_>]) -> Self {
        let steps = |run: &CurveOfRun<'_>| {
            let training = run.points.last().map_or(0, |(step, _)| *step);
            let validation = run.validation.last().map_or(0, |row| row.step as usize);
            training.max(validation)
        };
        let curve = |(i, run): (usize, &CurveOfRun<'_>)| Curve {
            points: run.points.to_vec(),
            validation: thinned(run.validation),
            line: colour(i, runs.len()),
            dots: colour(i, runs.len()),
            label: run.name.to_owned(),
            dots_label: None,
        };
        Self {
            caption: format!(
                "Loss of {} runs: lines training, dots validation",
                runs.len()
            ),
            steps: runs.iter().map(steps).max().unwrap_or_default(),
            curves: runs.iter().enumerate().map(curve).collect(),
        }
    }

    /// Lowest and highest value with some air around, or an arbitrary range without any value.
    fn y_range(&self) -> std::ops::Range<f64> {
        let points = |curve: &'_ Curve| -> Vec<f64> {
            let points = curve.points.iter().chain(&curve.validation);
            points.map(|p| p.1).collect()
        };
        range_of(self.curves.iter().flat_map(points))
    }
}

/// log10 of the validation losses by step; if there are many, every second or third of them.
fn thinned(validation: &[Validation]) -> Vec<(usize, f64)> {
    // From the last one back, so that the last one is among them.
    let every = validation.len().div_ceil(MANY).max(1);
    let thinned = validation.iter().rev().step_by(every);
    thinned
        .map(|row| (row.step as usize, row.val_loss.log10()))
        .filter(|(_, y)| y.is_finite())
        .collect()
}

/// The usual colours, or as many hues for more curves than there are.
fn colour(i: usize, of: usize) -> RGBColor {
    match COLOURS.get(i) {
        Some(&colour) if of <= COLOURS.len() => colour,
        // Neighbours differ in lightness too.
        _ => {
            let lightness = if i.is_multiple_of(2) { 0.35 } else { 0.6 };
            let (r, g, b) = HSLColor(i as f64 / of as f64, 0.8, lightness).rgb();
            RGBColor(r, g, b)
        }
    }
}

/// Draws the curve as the lecture does, with a dot for each validation loss, and writes the picture to
/// `path`. The axis on the left has log10 of the loss, which the lecture draws; the one on the right has
/// the loss itself at the same heights.
///
/// Losses that are not finite leave a gap; without any loss the picture has axes only.
///
/// # Errors
///
/// The file cannot be written.
pub fn loss_png(
    path: &Path,
    curve: &LossCurve,
    validation: &[Validation],
) -> Result<(), PlotError> {
    draw_png(path, &Picture::of_run(curve, validation))
}

/// Draws the curves of several runs as [`loss_png`] draws one, each in a colour of its own.
///
/// # Errors
///
/// The file cannot be written.
pub fn compare_png(path: &Path, runs: &[CurveOfRun<'_>]) -> Result<(), PlotError> {
    draw_png(path, &Picture::of_runs(runs))
}

fn draw_png(path: &Path, picture: &Picture) -> Result<(), PlotError> {
    png(path, (WIDTH, HEIGHT), |area| draw(area, picture))
}

fn draw<'a>(area: &Area<'a>, picture: &Picture) -> Result<(), AreaError<'a>> {
    let steps = picture.steps;
    let y_range = picture.y_range();
    let right = LossAxis::new(y_range.clone());
    let y_decimals = decimals(y_range.end - y_range.start);
    let mut chart = ChartBuilder::on(area)
        .caption(&picture.caption, font(20))
        .margin(scaled(14))
        .x_label_area_size(scaled(50))
        .y_label_area_size(scaled(70))
        .right_y_label_area_size(scaled(70))
        .build_cartesian_2d(0..steps.max(1), y_range)?
        .set_secondary_coord(0..steps.max(1), right);
    let mut mesh = chart.configure_mesh();
    style_mesh(&mut mesh, 14);
    mesh.x_labels(9)
        .y_labels(9)
        .x_label_formatter(&|x| thousands(*x))
        .y_label_formatter(&|y| format!("{y:.y_decimals$}"))
        .x_desc("step")
        .y_desc("log10 of the loss")
        .draw()?;
    chart
        .configure_secondary_axes()
        .axis_style(INK.stroke_width(SCALE))
        .set_all_tick_mark_size(scaled(4))
        .y_label_offset(scaled(2))
        .label_style(font(14))
        .axis_desc_style(font(16))
        .y_desc("loss")
        .draw()?;

    let key = scaled(20) as i32;
    for curve in &picture.curves {
        let line = curve.line.stroke_width(SCALE * 3 / 2);
        for stretch in stretches(&curve.points) {
            draw_stretch(&mut chart, stretch, line)?;
        }
        name_line(&mut chart, &curve.label, line)?;
    }
    // Above all lines.
    for curve in picture
        .curves
        .iter()
        .filter(|curve| !curve.validation.is_empty())
    {
        let dots = curve.dots.filled();
        if curve.dots_label.is_none() {
            // A rim tells a dot from a line of its own colour.
            let rims = curve
                .validation
                .iter()
                .map(|&at| Circle::new(at, SCALE * 5, WHITE.filled()));
            chart.draw_series(rims)?;
        }
        let circles = (curve.validation.iter()).map(|&at| Circle::new(at, SCALE * 7 / 2, dots));
        let drawn = chart.draw_series(circles)?;
        if let Some(label) = curve.dots_label {
            drawn.label(label).legend(move |(x, y)| {
                Circle::new((x + key / 2, y), SCALE * 7 / 2, dots).into_dyn()
            });
        }
    }
    draw_legend(&mut chart)
}

/// The axis on the right: its values are the heights of the one on the left, log10 of the loss, and its
/// ticks are where that of a round loss is.
struct LossAxis {
    heights: RangedCoordf64,
    ticks: Vec<f64>,
}

impl LossAxis {
    fn new(heights: std::ops::Range<f64>) -> Self {
        let losses = round_losses(&heights);
        Self {
            heights: heights.into(),
            ticks: losses.iter().map(|loss| loss.log10()).collect(),
        }
    }
}

impl Ranged for LossAxis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, height: &f64, limit: (i32, i32)) -> i32 {
        self.heights.map(height, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.heights.range()
    }
}

impl ValueFormatter<f64> for LossAxis {
    fn format(height: &f64) -> String {
        shown_loss(10_f64.powf(*height))
    }
}

/// Round losses for an axis whose heights are their log10: some 4 to 10 of them, or the powers of ten
/// where there are more.
fn round_losses(heights: &std::ops::Range<f64>) -> Vec<f64> {
    let (low, high) = (10_f64.powf(heights.start), 10_f64.powf(heights.end));
    if heights.end - heights.start > 1.0 {
        // 1, 2, 5, 10, 20, 50, …
        let decades = heights.start.floor() as i32..=heights.end.ceil() as i32;
        let every = (decades.clone().count()).div_ceil(10);
        let digits: &[f64] = if decades.clone().count() <= 4 {
            &[1.0, 2.0, 5.0]
        } else {
            &[1.0]
        };
        return decades
            .step_by(every)
            .flat_map(|decade| digits.iter().map(move |digit| digit * 10_f64.powi(decade)))
            .filter(|loss| (low..=high).contains(loss))
            .collect();
    }
    // The largest of 1, 2 and 5 times a power of ten that fits in at least four times.
    let length = high - low;
    let power = 10_f64.powf((length / 4.0).log10().floor());
    let step = [5.0, 2.0, 1.0]
        .map(|digit| digit * power)
        .into_iter()
        .find(|step| step * 4.0 <= length)
        .unwrap_or(power);
    let first = (low / step).ceil();
    (0..100)
        .map(|i| (first + f64::from(i)) * step)
        .take_while(|loss| *loss <= high)
        .collect()
}

/// A round loss: without the digits that only its binary form has.
fn shown_loss(loss: f64) -> String {
    let rounded: f64 = format!("{loss:.5e}").parse().unwrap_or(loss);
    match rounded {
        1e-4..1e7 => format!("{rounded}"),
        _ => format!("{rounded:e}"),
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};

    use super::super::canvas::pixels;
    use super::super::canvas::tests::decode;
    use super::*;
    use crate::rng::TorchGenerator;

    fn curve(losses: &[f32]) -> LossCurve {
        let mut curve = LossCurve::new(losses.len() as u64);
        curve.add(losses);
        curve
    }

    /// A curve like the lecture's: it falls fast, then slowly, with noise, and once more when
    /// the learning rate does.
    fn losses(steps: usize) -> Vec<f32> {
        let mut rng = TorchGenerator::seed_from_u64(1);
        (0..steps)
            .map(|i| {
                let noise = rng.random_range(-0.5..0.5);
                let t = i as f64 / steps as f64;
                let late = if t < 0.5 { 0.0 } else { 0.013 };
                let log = 0.33 + 0.03 * (-t * 4.0).exp() + 0.2 * (-t * 60.0).exp() - late;
                10_f64.powf(log + noise * 0.35) as f32
            })
            .collect()
    }

    #[test]
    fn labels_are_readable() {
        let losses = [2.0, 2.2000000000000006, 0.05, 1e9].map(shown_loss);
        assert_eq!(losses, ["2", "2.2", "0.05", "1e9"]);
    }

    #[test]
    fn the_right_axis_has_round_losses_at_the_heights_of_their_logarithms() {
        let losses = |low: f64, high: f64| -> Vec<String> {
            let losses = round_losses(&(low.log10()..high.log10()));
            losses.into_iter().map(shown_loss).collect()
        };
        assert_eq!(
            losses(2.03, 2.71),
            ["2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7"]
        );
        assert_eq!(losses(1.9, 4.1), ["2", "2.5", "3", "3.5", "4"]);
        assert_eq!(losses(1.5, 40.0), ["2", "5", "10", "20"]);
        assert_eq!(losses(0.5, 2e6).len(), 7);
        for (low, high) in [(1e-45, 3e38), (2.0, 2.000001), (1.0, 10.0), (0.9, 9.9)] {
            let count = losses(low, high).len();
            assert!((2..=12).contains(&count), "{low} {high}: {count}");
        }
    }

    #[test]
    fn the_picture_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loss.png");
        let validation: Vec<Validation> = (1..=10)
            .map(|i| Validation {
                step: 2000 * i,
                val_loss: 2.5 - 0.03 * i as f64,
            })
            .collect();
        loss_png(&path, &curve(&losses(20_000)), &validation).unwrap();
        let (width, height, pixels) = decode(&path);
        assert_eq!((width, height), (WIDTH, HEIGHT));
        let blue = [BLUE.0, BLUE.1, BLUE.2];
        let (rgb, _) = pixels.as_chunks::<3>();
        assert!(rgb.contains(&blue), "no curve");
        let orange = [ORANGE.0, ORANGE.1, ORANGE.2];
        // Eleven dots, the legend's among them, of some twenty full pixels each.
        let dots = rgb.iter().filter(|pixel| **pixel == orange).count();
        assert!(
            (150..600).contains(&dots),
            "{dots} pixels of validation losses"
        );
        assert!(rgb.first() == Some(&[255; 3]), "no white background");
    }

    #[test]
    fn odd_losses_are_drawn_without_a_panic() {
        let nan_inside = [1.0, 2.0, f32::NAN, 3.0, f32::INFINITY, 2.0, 0.0, 1.0];
        let cases: [&[f32]; 9] = [
            &[],
            &[2.0],
            &[2.0, 2.0],
            &[f32::NAN],
            &[f32::INFINITY, f32::NEG_INFINITY],
            &[-1.0, 0.0],
            &[f32::MAX, f32::from_bits(1)],
            &[0.3, 0.300_000_04],
            &nan_inside,
        ];
        for losses in cases {
            let rows = losses.iter().map(|&loss| Validation {
                step: 0,
                val_loss: f64::from(loss),
            });
            for rows in [rows.collect(), vec![]] {
                let picture = Picture::of_run(&curve(losses), &rows);
                pixels((WIDTH, HEIGHT), |area| draw(area, &picture)).unwrap();
            }
        }
    }

    #[test]
    fn many_validation_losses_are_thinned_down_to_the_last() {
        let rows: Vec<Validation> = (1..=1001)
            .map(|step| Validation {
                step,
                val_loss: 2.0,
            })
            .collect();
        let drawn = thinned(&rows);
        assert!((100..=MANY).contains(&drawn.len()), "{}", drawn.len());
        assert!(drawn.contains(&(1001, 2_f64.log10())));
    }

    #[test]
    fn runs_have_colours_of_their_own() {
        for of in [2, 10, 11, 20] {
            let colours: Vec<RGBColor> = (0..of).map(|i| colour(i, of)).collect();
            for (i, one) in colours.iter().enumerate() {
                assert!(!colours[..i].contains(one), "{i} of {of}");
            }
        }
        assert_eq!([colour(0, 2), colour(1, 2)], [BLUE, ORANGE]);
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/loss.png");
        let error = loss_png(&path, &curve(&[1.0]), &[]).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
