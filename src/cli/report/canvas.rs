//! What all pictures share: font, colours, axes, smooth edges, and the file.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{Ranged, ValueFormatter};
use plotters::coord::types::{RangedCoordf64, RangedCoordusize};
use plotters::prelude::*;
use plotters::style::register_font;

use crate::cli::error::Failure;
use crate::cli::files::{FileError, write_atomic};

/// A picture is drawn this much larger in both directions and then averaged down. Plotters draws wide lines
/// without smoothing their edges; this smooths everything.
pub(crate) const SCALE: u32 = 4;

/// The name under which plotters knows the font.
pub(crate) const FONT: &str = "dejavu";

/// Matplotlib's colours without its grey: the first is the lecture's.
pub(crate) const COLOURS: [RGBColor; 8] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
    RGBColor(0x17, 0xbe, 0xcf),
];
pub(crate) const BLUE: RGBColor = COLOURS[0];
pub(crate) const ORANGE: RGBColor = COLOURS[1];
pub(crate) const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
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

impl Failure for PlotError {}

/// The area that a picture is drawn on.
pub(crate) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub(crate) type AreaError<'a> =
    DrawingAreaErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>;

/// Converts pixels of the picture to pixels of the enlarged drawing.
pub(crate) fn scaled(pixels: u32) -> u32 {
    pixels * SCALE
}

/// The font, with its size in pixels of the picture.
pub(crate) fn font(size: u32) -> TextStyle<'static> {
    (FONT, scaled(size)).into_font().color(&INK)
}

/// Draws a white picture of this width and height by `draw`, and writes it to `path`.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn png(
    path: &Path,
    (width, height): (u32, u32),
    draw: impl for<'a> FnOnce(&Area<'a>) -> Result<(), AreaError<'a>>,
) -> Result<(), PlotError> {
    let draw_error = |reason: String| PlotError::Draw {
        path: path.to_path_buf(),
        reason,
    };
    let pixels = pixels((width, height), draw).map_err(draw_error)?;
    save(path, &pixels, (width, height))
}

/// RGB pixels of such a picture, row by row.
pub(crate) fn pixels(
    (width, height): (u32, u32),
    draw: impl for<'a> FnOnce(&Area<'a>) -> Result<(), AreaError<'a>>,
) -> Result<Vec<u8>, String> {
    load_font()?;
    let (wide, high) = (scaled(width), scaled(height));
    let mut large = vec![0; wide as usize * high as usize * 3];
    {
        let area = BitMapBackend::with_buffer(&mut large, (wide, high)).into_drawing_area();
        let drawn = area.fill(&WHITE).and_then(|()| draw(&area));
        drawn.map_err(|e| e.to_string())?;
        area.present().map_err(|e| e.to_string())?;
    }
    Ok(average_down(&large, width as usize))
}

/// Writes RGB pixels as a PNG file.
///
/// # Errors
///
/// The file cannot be written.
pub(crate) fn save(
    path: &Path,
    pixels: &[u8],
    (width, height): (u32, u32),
) -> Result<(), PlotError> {
    let png = encode(pixels, width, height).map_err(|e| PlotError::Draw {
        path: path.to_path_buf(),
        reason: e.to_string(),
    })?;
    Ok(write_atomic(path, |w| w.write_all(&png))?)
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
fn average_down(large: &[u8], width: usize) -> Vec<u8> {
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
fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// A curve over steps, and what it is drawn in.
pub(crate) type Plane = Cartesian2d<RangedCoordusize, RangedCoordf64>;
pub(crate) type Chart<'a, 'b> = ChartContext<'a, BitMapBackend<'b>, Plane>;

/// Gives grid and axes the style of all pictures, with labels of this size in pixels of the picture.
pub(crate) fn style_mesh<X, Y>(mesh: &mut MeshStyle<'_, '_, X, Y, BitMapBackend<'_>>, size: u32)
where
    X: Ranged + ValueFormatter<<X as Ranged>::ValueType>,
    Y: Ranged + ValueFormatter<<Y as Ranged>::ValueType>,
{
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GRID.stroke_width(SCALE))
        .axis_style(INK.stroke_width(SCALE))
        .set_all_tick_mark_size(scaled(4))
        .y_label_offset(scaled(2)) // plotters sets them a little high
        .label_style(font(size))
        .axis_desc_style(font(size + 2));
}

/// Gives a line an entry in the legend. The line itself is drawn as many elements, which would have one each.
pub(crate) fn name_line<'a, 'b: 'a>(
    chart: &mut Chart<'a, 'b>,
    label: &str,
    line: ShapeStyle,
) -> Result<(), AreaError<'b>> {
    let none = std::iter::empty::<Circle<(usize, f64), u32>>();
    let key = scaled(20) as i32;
    let dash = move |(x, y)| PathElement::new([(x, y), (x + key, y)], line).into_dyn();
    chart.draw_series(none)?.label(label).legend(dash);
    Ok(())
}

/// Draws the legend.
pub(crate) fn draw_legend<'a, 'b: 'a>(chart: &mut Chart<'a, 'b>) -> Result<(), AreaError<'b>> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .margin(scaled(12) as i32)
        .legend_area_size(scaled(26))
        .background_style(WHITE)
        .border_style(GRID.stroke_width(SCALE))
        .label_font(font(14))
        .draw()
}

/// The stretches of a curve without a gap: a gap is where a value is not finite.
pub(crate) fn stretches(points: &[(usize, f64)]) -> impl Iterator<Item = &[(usize, f64)]> {
    points
        .split(|(_, y)| !y.is_finite())
        .filter(|stretch| !stretch.is_empty())
}

/// Draws each piece by itself, with a dot at each point to round the corners. As one path,
/// plotters would fill the outline of the whole curve, with holes where the outline of a noisy
/// curve crosses itself.
pub(crate) fn draw_stretch<'b>(
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

/// Decimals that tell the labels of an axis of this length apart.
pub(crate) fn decimals(length: f64) -> usize {
    (1.0 - length.log10()).ceil().clamp(0.0, 8.0) as usize
}

/// A number of steps with commas: `200,000`.
pub(crate) fn thousands(steps: usize) -> String {
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

/// A range around the finite values, with a margin; 0 to 1 if there are none.
pub(crate) fn range_of(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let finite = values.filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Width, height and RGB pixels of a file.
    pub(crate) fn decode(path: &Path) -> (u32, u32, Vec<u8>) {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn labels_are_readable() {
        let labels = [0, 999, 1000, 200_000, 1_234_567].map(thousands);
        assert_eq!(labels, ["0", "999", "1,000", "200,000", "1,234,567"]);
        assert_eq!([0.2, 1.0, 30.0, 1e-12].map(decimals), [2, 1, 0, 8]);
    }

    #[test]
    fn a_range_has_air_around_finite_values() {
        let range = range_of([f64::NAN, 1.0, f64::INFINITY, 3.0].into_iter());
        assert_eq!((range.start, range.end), (0.9, 3.1));
        assert_eq!(range_of([2.0].into_iter()), 1.95..2.05);
        assert_eq!(range_of([f64::NAN].into_iter()), 0.0..1.0);
    }
}
