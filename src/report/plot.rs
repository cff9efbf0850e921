//! `loss.png`: the lecture's picture of the loss.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plotters::coord::types::{RangedCoordf64, RangedCoordusize};
use plotters::prelude::*;
use plotters::style::register_font;

use super::curve::LossCurve;
use crate::files::{FileError, write_atomic};

/// Size of the picture in pixels.
const WIDTH: u32 = 960;
const HEIGHT: u32 = 540;

/// The picture is drawn this much larger in both directions and then averaged down. Plotters
/// draws wide lines without smoothing their edges; this smooths everything.
pub(crate) const SCALE: u32 = 4;

/// The name under which plotters knows the font.
pub(crate) const FONT: &str = "dejavu";

/// Matplotlib's first colour, as in the lecture.
const BLUE: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
pub(crate) const INK: RGBColor = RGBColor(0x26, 0x26, 0x26);

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The file cannot be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The drawing or encoding library failed.
    #[error("cannot draw {}: {reason}", .path.display())]
    Draw {
        /// The picture.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
}

/// What is drawn.
struct Curve {
    /// Steps that one point stands for.
    bucket: usize,
    /// Steps of the run.
    steps: usize,
    /// Not finite where a loss is not, or is zero.
    points: Vec<(usize, f64)>,
}

impl Curve {
    fn new(curve: &LossCurve) -> Self {
        Self {
            bucket: curve.bucket() as usize,
            steps: curve.steps() as usize,
            points: curve.points(),
        }
    }

    /// The stretches of the curve without a gap.
    fn stretches(&self) -> impl Iterator<Item = &[(usize, f64)]> {
        self.points
            .split(|(_, y)| !y.is_finite())
            .filter(|stretch| !stretch.is_empty())
    }

    /// Lowest and highest value with some air around, or an arbitrary range without any value.
    fn y_range(&self) -> std::ops::Range<f64> {
        let finite = self.points.iter().map(|p| p.1).filter(|y| y.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| {
            (low.min(y), high.max(y))
        });
        if low > high {
            return 0.0..1.0;
        }
        let air = if high - low > 1e-6 {
            (high - low) * 0.05
        } else {
            0.05
        };
        low - air..high + air
    }
}

/// Draws the curve as the lecture does and writes the picture to `path`.
///
/// Losses that are not finite leave a gap; without any loss the picture has axes only.
///
/// # Errors
///
/// The file cannot be written.
pub fn loss_png(path: &Path, curve: &LossCurve) -> Result<(), PlotError> {
    let draw_error = |reason: String| PlotError::Draw {
        path: path.to_path_buf(),
        reason,
    };
    let pixels = draw(&Curve::new(curve)).map_err(draw_error)?;
    let png = encode(&pixels, WIDTH, HEIGHT).map_err(|e| draw_error(e.to_string()))?;
    write_atomic(path, |w| w.write_all(&png))?;
    Ok(())
}

/// RGB pixels of the picture, row by row.
fn draw(curve: &Curve) -> Result<Vec<u8>, String> {
    load_font()?;
    let (width, height) = (WIDTH * SCALE, HEIGHT * SCALE);
    let mut large = vec![0; width as usize * height as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut large, (width, height)).into_drawing_area();
        draw_chart(&area, curve).map_err(|e| e.to_string())?;
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(average_down(&large, WIDTH as usize))
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, plotters::coord::Shift>;
type AreaError<'a> = DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

fn draw_chart<'a>(area: &Area<'a>, curve: &Curve) -> Result<(), AreaError<'a>> {
    let steps = curve.steps;
    let scaled = |pixels: u32| pixels * SCALE;
    let font = |size: u32| (FONT, scaled(size)).into_font().color(&INK);
    area.fill(&WHITE)?;

    let y_desc = match curve.bucket {
        1 => "log10 of the loss".to_owned(),
        n => format!("log10 of the loss, mean of {} steps", thousands(n)),
    };
    let y_range = curve.y_range();
    let y_decimals = decimals(y_range.end - y_range.start);
    let mut chart = ChartBuilder::on(area)
        .caption("Loss over the training run", font(20))
        .margin(scaled(14))
        .margin_right(scaled(44))
        .x_label_area_size(scaled(50))
        .y_label_area_size(scaled(70))
        .build_cartesian_2d(0..steps.max(1), y_range)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE))
        .axis_style(INK.stroke_width(SCALE))
        .set_all_tick_mark_size(scaled(4))
        .y_label_offset(scaled(2)) // plotters sets them a little high
        .x_labels(9)
        .y_labels(9)
        .x_label_formatter(&|x| thousands(*x))
        .y_label_formatter(&|y| format!("{y:.y_decimals$}"))
        .label_style(font(14))
        .axis_desc_style(font(16))
        .x_desc("step")
        .y_desc(y_desc)
        .draw()?;

    let line = BLUE.stroke_width(SCALE * 3 / 2);
    for stretch in curve.stretches() {
        draw_stretch(&mut chart, stretch, line)?;
    }
    Ok(())
}

type Chart<'a, 'b> =
    ChartContext<'a, BitMapBackend<'b>, Cartesian2d<RangedCoordusize, RangedCoordf64>>;

/// Draws each piece by itself, with a dot at each point to round the corners. As one path,
/// plotters would fill the outline of the whole curve, with holes where the outline of a noisy
/// curve crosses itself.
fn draw_stretch<'b>(
    chart: &mut Chart<'_, 'b>,
    stretch: &[(usize, f64)],
    line: ShapeStyle,
) -> Result<(), AreaError<'b>> {
    let radius = match stretch {
        [_] => SCALE * 3, // a point without neighbours has no line to be seen by
        _ => line.stroke_width / 2,
    };
    chart.draw_series(
        stretch
            .windows(2)
            .map(|piece| PathElement::new(piece.to_vec(), line)),
    )?;
    chart.draw_series(
        stretch
            .iter()
            .map(|&point| Circle::new(point, radius, line.filled())),
    )?;
    Ok(())
}

/// Makes the font known to plotters, once: the program brings its own, because a machine without
/// a screen often has none.
pub(crate) fn load_font() -> Result<(), String> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    let loaded = *LOADED
        .get_or_init(|| register_font(FONT, FontStyle::Normal, dejavu::sans::regular()).is_ok());
    match loaded {
        true => Ok(()),
        false => Err("the built-in font cannot be read".to_owned()),
    }
}

/// The mean of each `SCALE` x `SCALE` block of pixels; `width` is that of the result.
pub(crate) fn average_down(large: &[u8], width: usize) -> Vec<u8> {
    let scale = SCALE as usize;
    let mut sums = vec![0_u32; width * 3];
    let mut small = Vec::with_capacity(large.len() / (scale * scale));
    for rows in large.chunks_exact(width * scale * 3 * scale) {
        sums.fill(0);
        for (i, &value) in rows.iter().enumerate() {
            let column = i / 3 % (width * scale) / scale;
            sums[column * 3 + i % 3] += u32::from(value);
        }
        small.extend(sums.iter().map(|sum| (sum / (SCALE * SCALE)) as u8));
    }
    small
}

/// RGB pixels as a PNG file.
pub(crate) fn encode(
    pixels: &[u8],
    width: u32,
    height: u32,
) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// Decimals that tell the labels of an axis of this length apart.
fn decimals(length: f64) -> usize {
    (1.0 - length.log10()).ceil().clamp(0.0, 8.0) as usize
}

/// A number of steps with commas: `200,000`.
fn thousands(steps: usize) -> String {
    let digits = steps.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(losses: &[f32]) -> LossCurve {
        let mut curve = LossCurve::new(losses.len() as u64);
        curve.add(losses);
        curve
    }

    /// A curve like the lecture's: it falls fast, then slowly, with noise, and once more when
    /// the learning rate does.
    fn losses(steps: usize) -> Vec<f32> {
        let mut state = 1_u32;
        (0..steps)
            .map(|i| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = f64::from(state >> 8) / f64::from(1 << 24) - 0.5;
                let t = i as f64 / steps as f64;
                let late = if t < 0.5 { 0.0 } else { 0.013 };
                let log = 0.33 + 0.03 * (-t * 4.0).exp() + 0.2 * (-t * 60.0).exp() - late;
                10_f64.powf(log + noise * 0.35) as f32
            })
            .collect()
    }

    #[test]
    fn labels_are_readable() {
        let labels = [0, 999, 1000, 200_000, 1_234_567].map(thousands);
        assert_eq!(labels, ["0", "999", "1,000", "200,000", "1,234,567"]);
        assert_eq!([0.2, 1.0, 30.0, 1e-12].map(decimals), [2, 1, 0, 8]);
    }

    #[test]
    fn the_picture_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("loss.png");
        loss_png(&path, &curve(&losses(20_000))).unwrap();
        let decoder = png::Decoder::new(std::io::Cursor::new(std::fs::read(&path).unwrap()));
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (WIDTH, HEIGHT));
        let blue = [BLUE.0, BLUE.1, BLUE.2];
        let (rgb, _) = pixels.as_chunks::<3>();
        assert!(rgb.contains(&blue), "no curve");
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
            draw(&Curve::new(&curve(losses))).unwrap();
        }
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing/loss.png");
        let error = loss_png(&path, &curve(&[1.0])).unwrap_err();
        assert!(error.to_string().starts_with("cannot write "), "{error}");
    }
}
