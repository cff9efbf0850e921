//! Pictures of a matrix: the lecture's grey one of dlogits, and one in colour with its axes named.

use std::path::Path;

use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{FONT, INK, PlotError, load_font, save};

/// Side of an element in pixels.
const CELL: usize = 18;
/// Room around the matrix of the picture in colour: for titles and labels, and for the colour bar on the
/// right.
const LEFT: usize = 64;
const TOP: usize = 78;
const RIGHT: usize = 128;
const BOTTOM: usize = 16;
/// Where the colour bar begins, from the matrix, and how wide it is.
const BAR_GAP: usize = 24;
const BAR_WIDTH: usize = 16;

/// An axis of a matrix: what it is, and a label for each column or row.
pub struct Axis<'a> {
    /// Its title.
    pub title: &'a str,
    /// Its labels.
    pub labels: &'a [String],
}

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
    save(path, &pixels, (width as u32, height as u32))
}

/// A matrix as a picture in colour: blue below zero, white at zero, red above, with titles and labels for columns and
/// rows. The scale is that of the absolute value's square root, so that small values show beside large
/// ones; a colour bar, named `scale`, shows it.
///
/// # Errors
///
/// The file cannot be written.
pub fn colour_png(
    path: &Path,
    values: &[f32],
    title: &str,
    columns: &Axis<'_>,
    rows: &Axis<'_>,
    scale: &str,
) -> Result<(), PlotError> {
    let cols = columns.labels.len();
    let largest = values.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let (right, bottom) = (LEFT + cols * CELL, TOP + rows.labels.len() * CELL);
    let (width, height) = (right + RIGHT, bottom + BOTTOM);
    let mut pixels = vec![255; width * height * 3];
    for (i, &value) in values.iter().enumerate() {
        let colour = colour_at((value.abs() / largest).sqrt().copysign(value));
        let cell = (i / cols, i % cols);
        fill_cell(&mut pixels, width, (LEFT, TOP), cell, colour);
    }
    // The colour bar: the place of a colour runs from 1 at the top to -1 at the bottom.
    let bar = right + BAR_GAP;
    let length = (bottom - TOP) as f32;
    for y in TOP..bottom {
        let colour = colour_at(1.0 - 2.0 * (y - TOP) as f32 / (length - 1.0));
        let start = (y * width + bar) * 3;
        for pixel in pixels[start..start + 3 * BAR_WIDTH].chunks_exact_mut(3) {
            pixel.copy_from_slice(&colour);
        }
    }
    let failed = |reason: String| PlotError::Draw {
        path: path.to_path_buf(),
        reason,
    };
    load_font().map_err(failed)?;
    {
        let size = (width as u32, height as u32);
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        let font = |size: u32| (FONT, size).into_font().color(&INK);
        let draw = |text: &str, at: (usize, usize), style: TextStyle<'_>| {
            area.draw(&Text::new(text, (at.0 as i32, at.1 as i32), style))
                .map_err(|e| failed(e.to_string()))
        };
        let left = Pos::new(HPos::Left, VPos::Center);
        let middle = Pos::new(HPos::Center, VPos::Center);
        let to_right = Pos::new(HPos::Right, VPos::Center);
        let (across, down) = ((LEFT + right) / 2, (TOP + bottom) / 2);
        draw(title, (LEFT, 18), font(15).pos(left))?;
        draw(columns.title, (across, TOP - 34), font(13).pos(middle))?;
        let upwards = || font(13).pos(middle).transform(FontTransform::Rotate270);
        draw(rows.title, (18, down), upwards())?;
        for (i, label) in columns.labels.iter().enumerate() {
            let at = (LEFT + i * CELL + CELL / 2, TOP - 11);
            draw(label, at, font(13).pos(middle))?;
        }
        for (i, label) in rows.labels.iter().enumerate() {
            let at = (LEFT - 8, TOP + i * CELL + CELL / 2);
            draw(label, at, font(13).pos(to_right))?;
        }
        let end = bar + BAR_WIDTH;
        let outline = [(bar, TOP), (end, bottom - 1)].map(|(x, y)| (x as i32, y as i32));
        area.draw(&Rectangle::new(outline, INK))
            .map_err(|e| failed(e.to_string()))?;
        for place in [1.0, 0.5, 0.0, -0.5, -1.0_f32] {
            let value = (place * place).copysign(place) * largest;
            let y = TOP + ((1.0 - place) / 2.0 * (length - 1.0)).round() as usize;
            let tick = vec![(end as i32, y as i32), (end as i32 + 4, y as i32)];
            area.draw(&PathElement::new(tick, INK))
                .map_err(|e| failed(e.to_string()))?;
            draw(&label(value), (end + 8, y), font(12).pos(left))?;
        }
        draw(scale, (width - 14, down), upwards())?;
        area.present().map_err(|e| failed(e.to_string()))?;
    }
    save(path, &pixels, (width as u32, height as u32))
}

/// The colour of a place between -1 and 1.
fn colour_at(place: f32) -> [u8; 3] {
    let pale = ((1.0 - place.abs()) * 255.0).round() as u8;
    if place > 0.0 {
        [255, pale, pale]
    } else {
        [pale, pale, 255]
    }
}

/// A value beside the colour bar, in two digits.
fn label(value: f32) -> String {
    let rounded: f32 = format!("{value:.1e}").parse().unwrap_or(value);
    match rounded.abs() {
        0.0 => "0".to_owned(),
        size if (1e-4..1e4).contains(&size) => rounded.to_string(),
        _ => format!("{rounded:e}"),
    }
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

#[cfg(test)]
mod tests {
    use super::super::canvas::tests::decode;
    use super::*;

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
        let labels: Vec<String> = ["a", "b", "c"].map(String::from).to_vec();
        let axis = |title| Axis {
            title,
            labels: &labels,
        };
        let values = [1.0, -1.0, 0.0, 0.25, -0.25, 0.0, 0.0, 0.0, 0.0];
        colour_png(&path, &values, "title", &axis("x"), &axis("y"), "scale").unwrap();
        let (width, height, pixels) = decode(&path);
        let (width, height) = (width as usize, height as usize);
        let at = |x: usize, y: usize| {
            let start = (y * width + x) * 3;
            pixels[start..start + 3].to_vec()
        };
        let cell = |row: usize, col: usize| at(LEFT + col * CELL, TOP + row * CELL);
        assert_eq!((cell(0, 0), cell(0, 1)), (vec![255, 0, 0], vec![0, 0, 255]));
        // A quarter of the largest value is half of the way to white.
        let (red, blue) = (vec![255, 128, 128], vec![128, 128, 255]);
        assert_eq!((cell(1, 0), cell(1, 1)), (red, blue));
        // The bar runs from the largest value through zero to the smallest; the outline is ink.
        let (right, bottom) = (LEFT + 3 * CELL, TOP + 3 * CELL);
        let bar = |y: usize| at(right + BAR_GAP + BAR_WIDTH / 2, y);
        let (top, low) = (bar(TOP + 1), bar(bottom - 2));
        assert!(top[0] == 255 && top[1] < 20 && top[2] < 20, "{top:?}");
        assert!(low[2] == 255 && low[0] < 20 && low[1] < 20, "{low:?}");
        let middle = bar((TOP + bottom) / 2);
        assert!(middle.iter().all(|&level| level > 240), "{middle:?}");
        // Each title has left ink where it belongs.
        let ink = |xs: std::ops::Range<usize>, ys: std::ops::Range<usize>| {
            let mut dark = xs.flat_map(|x| ys.clone().map(move |y| (x, y)));
            dark.any(|(x, y)| at(x, y).iter().all(|&level| level < 120))
        };
        assert!(
            ink(LEFT..right, TOP - 44..TOP - 24),
            "no title of the columns"
        );
        assert!(ink(8..28, TOP..bottom), "no title of the rows");
        assert!(
            ink(width - 24..width - 4, TOP..bottom),
            "no title of the bar"
        );
        assert!(
            ink(right + 50..right + 90, TOP - 8..height),
            "no labels of the bar"
        );
    }

    #[test]
    fn values_beside_the_bar_have_two_digits() {
        let labels = [0.031_25, -0.007_812_5, 0.0, 1.0, 2e-7].map(label);
        assert_eq!(labels, ["0.031", "-0.0078", "0", "1", "2e-7"]);
    }
}
