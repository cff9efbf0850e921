//! Pictures of a matrix: the lecture's grey one of dlogits, and one in colour with its axes named.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::plot::{FONT, INK, PlotError, encode, load_font};
use crate::files::write_atomic;

/// Side of an element in pixels.
const CELL: usize = 18;
/// Room for the labels of the picture in colour.
const LEFT: usize = 52;
const TOP: usize = 58;
const MARGIN: usize = 16;

/// `plt.imshow(values, cmap='gray')`: the smallest value black, the largest white.
///
/// # Errors
///
/// The file cannot be written.
pub fn grey_png(path: &Path, values: &[f32], cols: usize) -> Result<(), PlotError> {
    let (low, high) = values
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| {
            (low.min(v), high.max(v))
        });
    let range = (high - low).max(f32::MIN_POSITIVE);
    let (width, height) = (cols * CELL, values.len() / cols * CELL);
    let mut pixels = vec![255; width * height * 3];
    for (i, &value) in values.iter().enumerate() {
        let level = ((value - low) / range * 255.0).round() as u8;
        fill_cell(&mut pixels, width, (0, 0), (i / cols, i % cols), [level; 3]);
    }
    save(path, &pixels, width, height)
}

/// The same in colour: blue below zero, white at zero, red above, with a label for each column and
/// each row. The scale is that of the absolute value's square root, so that small values show
/// beside large ones.
///
/// # Errors
///
/// The file cannot be written.
pub fn colour_png(
    path: &Path,
    values: &[f32],
    title: &str,
    columns: &[String],
    rows: &[String],
) -> Result<(), PlotError> {
    let cols = columns.len();
    let largest = values.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let (width, height) = (
        LEFT + cols * CELL + MARGIN,
        TOP + rows.len() * CELL + MARGIN,
    );
    let mut pixels = vec![255; width * height * 3];
    for (i, &value) in values.iter().enumerate() {
        let strength = (value.abs() / largest).sqrt();
        let pale = ((1.0 - strength) * 255.0).round() as u8;
        let colour = if value > 0.0 {
            [255, pale, pale]
        } else {
            [pale, pale, 255]
        };
        fill_cell(
            &mut pixels,
            width,
            (LEFT, TOP),
            (i / cols, i % cols),
            colour,
        );
    }
    let failed = |reason: String| PlotError::Draw {
        path: path.to_path_buf(),
        reason,
    };
    load_font().map_err(failed)?;
    {
        let size = (width as u32, height as u32);
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        let write = |text: &str, at: (usize, usize), font: u32, pos: Pos| {
            let style = (FONT, font).into_font().color(&INK).pos(pos);
            area.draw(&Text::new(text, (at.0 as i32, at.1 as i32), style))
                .map_err(|e| failed(e.to_string()))
        };
        let middle = Pos::new(HPos::Center, VPos::Center);
        let right = Pos::new(HPos::Right, VPos::Center);
        write(title, (LEFT, 18), 15, Pos::new(HPos::Left, VPos::Center))?;
        for (i, label) in columns.iter().enumerate() {
            write(label, (LEFT + i * CELL + CELL / 2, TOP - 11), 13, middle)?;
        }
        for (i, label) in rows.iter().enumerate() {
            write(label, (LEFT - 8, TOP + i * CELL + CELL / 2), 13, right)?;
        }
        area.present().map_err(|e| failed(e.to_string()))?;
    }
    save(path, &pixels, width, height)
}

fn fill_cell(
    pixels: &mut [u8],
    width: usize,
    origin: (usize, usize),
    (row, col): (usize, usize),
    colour: [u8; 3],
) {
    for y in 0..CELL {
        let line = origin.1 + row * CELL + y;
        let start = (line * width + origin.0 + col * CELL) * 3;
        for pixel in pixels[start..start + CELL * 3].chunks_exact_mut(3) {
            pixel.copy_from_slice(&colour);
        }
    }
}

fn save(path: &Path, pixels: &[u8], width: usize, height: usize) -> Result<(), PlotError> {
    let png = encode(pixels, width as u32, height as u32).map_err(|e| PlotError::Draw {
        path: path.to_path_buf(),
        reason: e.to_string(),
    })?;
    write_atomic(path, |w| w.write_all(&png))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(path: &Path) -> (u32, u32, Vec<u8>) {
        let file = std::io::BufReader::new(std::fs::File::open(path).unwrap());
        let mut reader = png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn the_grey_picture_runs_from_black_to_white() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("grey.png");
        grey_png(&path, &[-1.0, 0.0, 1.0, 0.5, 0.25, -0.5], 3).unwrap();
        let (width, height, pixels) = decode(&path);
        assert_eq!((width, height), (54, 36));
        let at = |row: usize, col: usize| pixels[(row * CELL * 54 + col * CELL) * 3];
        assert_eq!((at(0, 0), at(0, 1), at(0, 2)), (0, 128, 255));
    }

    #[test]
    fn the_colours_tell_the_sign() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("colour.png");
        let labels: Vec<String> = ["a", "b"].map(String::from).to_vec();
        colour_png(&path, &[1.0, -1.0, 0.0, 0.0], "title", &labels, &labels).unwrap();
        let (width, _, pixels) = decode(&path);
        let at = |col: usize| {
            let start = (TOP * width as usize + LEFT + col * CELL) * 3;
            pixels[start..start + 3].to_vec()
        };
        assert_eq!((at(0), at(1)), (vec![255, 0, 0], vec![0, 0, 255]));
    }
}
