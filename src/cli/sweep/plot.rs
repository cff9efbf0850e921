//! Validation loss against each swept option, as a picture and in the terminal.
//!
//! Models that differ in other options as well are never averaged: each combination of the others has a
//! line of its own, with bars that show the spread over the seeds alone.

use std::ops::Range;
use std::path::Path;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use textplots::{Chart, LabelBuilder, LabelFormat, Plot, Shape};

use super::numbers::{deviation, loss, mean};
use crate::cli::report::canvas::{
    self, Area, AreaError, BLUE, COLOURS, ORANGE, PlotError, SCALE, font, scaled, style_mesh,
};
use crate::model::recipe::Value;

/// Size of the picture of one option in pixels.
const WIDTH: u32 = 640;
const HEIGHT: u32 = 420;
/// Room around the plot, and for the labels of its axes.
const MARGIN: u32 = 14;
const RIGHT: u32 = 32;
const X_LABELS: u32 = 46;
const Y_LABELS: u32 = 66;
/// Height of the caption, and of a row of the legend below it.
const CAPTION: u32 = 22;
const LEGEND_ROW: u32 = 20;
/// Size of its plot in the terminal in Braille dots: two in a letter's width, four in its height.
const DOTS: (u32, u32) = (120, 48);

/// Each model, and the mean over those of the same value, where there is one line.
const MODEL: RGBColor = BLUE;
const MEAN: RGBColor = ORANGE;
/// The lines, where there are several.
const LINES: [RGBColor; 8] = COLOURS;

/// An option, and what came of its values.
pub struct Axis {
    /// Its name.
    pub name: &'static str,
    /// Whether the axis is logarithmic.
    pub log: bool,
    /// Whether its values were drawn from a range.
    pub drawn: bool,
    /// The other options that were swept, but for the seed.
    pub others: Vec<&'static str>,
    /// The models, by the values of those.
    pub series: Vec<Series>,
    /// The seeds of an axis of seeds, in order: no quantity, so they stand side by side.
    seeds: Option<Vec<Value>>,
}

/// Models that differ in one option, and perhaps in the seed.
pub struct Series {
    /// The values of the other options.
    pub label: String,
    /// Value and validation loss of each model that has one.
    pub models: Vec<(Value, f64)>,
}

/// Where the models of a series lie.
#[derive(Default)]
struct PlacedSeries {
    models: Vec<(f64, f64)>,
    /// The mean of the losses at each value, in order.
    means: Vec<(f64, f64)>,
    /// Standard deviation of a sample of the losses at each value; none of a single one.
    deviations: Vec<Option<f64>>,
}

/// Where everything lies: with the logarithm of the values if the axis is logarithmic.
struct Placed {
    series: Vec<PlacedSeries>,
    /// Lowest and highest place, with some air around.
    x: (f64, f64),
    /// Lowest and highest loss that is drawn, with some air around.
    y: (f64, f64),
    /// Models whose loss is far above all others.
    left_out: usize,
    /// Whether means are shown, and whether a line joins them: many values with a model each are a
    /// cloud.
    lines: bool,
}

impl Placed {
    /// The places that have models, in order.
    fn places(&self) -> Vec<f64> {
        let means = self.series.iter().flat_map(|series| &series.means);
        let mut places: Vec<f64> = means.map(|&(x, _)| x).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        places
    }

    /// Whether some mean is one of several models.
    fn has_spread(&self) -> bool {
        let mut deviations = self.series.iter().flat_map(|series| &series.deviations);
        deviations.any(Option::is_some)
    }

    /// What there is to say of models that are not shown.
    fn note(&self) -> Option<String> {
        match self.left_out {
            0 => None,
            1 => Some("1 model far above is left out".to_owned()),
            n => Some(format!("{n} models far above are left out")),
        }
    }
}

impl Axis {
    /// An axis with these models.
    pub fn new(
        name: &'static str,
        log: bool,
        drawn: bool,
        others: Vec<&'static str>,
        series: Vec<Series>,
    ) -> Self {
        let seeds = (name == "seed").then(|| {
            let models = series.iter().flat_map(|series| &series.models);
            let mut seeds: Vec<Value> = models.map(|(seed, _)| seed.clone()).collect();
            seeds.sort();
            seeds.dedup();
            seeds
        });
        Self {
            name,
            log,
            drawn,
            others,
            series,
            seeds,
        }
    }

    /// A value's place.
    fn place(&self, value: &Value) -> f64 {
        match &self.seeds {
            Some(seeds) => seeds.partition_point(|seed| seed < value) as f64,
            None if self.log => value.to_f64().log10(),
            None => value.to_f64(),
        }
    }

    /// The value at a place, in as many digits as a label needs.
    fn label(&self, place: f64) -> String {
        if let Some(seeds) = &self.seeds {
            let last = seeds.len().saturating_sub(1);
            let seed = seeds.get((place.round().max(0.0) as usize).min(last));
            return seed.map(Value::to_string).unwrap_or_default();
        }
        let value = if self.log { 10f64.powf(place) } else { place };
        Value::Real(format!("{value:.2e}").parse().unwrap_or(value)).to_string()
    }

    /// Places of the labels of the picture: the values themselves if they were listed and are few,
    /// else round numbers; none so near another that their labels would touch.
    fn ticks(&self, placed: &Placed) -> Vec<f64> {
        const FEW: usize = 8;
        let (from, to) = placed.x;
        let mut places = placed.places();
        let round = self.seeds.is_none() && (self.drawn || places.len() > FEW);
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
        // A digit is eight pixels wide, a gap at least as wide as two.
        let pixel = (to - from) / f64::from(WIDTH - MARGIN - RIGHT - Y_LABELS);
        let half = |place: f64| 4.0 * (self.label(place).len() + 2) as f64 * pixel;
        let mut end = f64::NEG_INFINITY;
        places.retain(|&place| {
            let apart = place - half(place) >= end;
            let fits = (from..=to).contains(&place) && apart;
            if fits {
                end = place + half(place);
            }
            fits
        });
        places
    }

    fn placed(&self) -> Placed {
        const FEW: usize = 5;
        // A model that all but diverged would press all others into one line.
        let models = self.series.iter().flat_map(|series| &series.models);
        let mut losses: Vec<f64> = models.map(|&(_, loss)| loss).collect();
        losses.sort_by(f64::total_cmp);
        let quarter = |part: usize| losses.get(part * losses.len().saturating_sub(1) / 4);
        let [low, middle, high] = [1, 2, 3].map(|part| quarter(part).copied().unwrap_or(0.0));
        let most = match losses.len() {
            // Of so few, the quartiles say nothing.
            0..FEW => 2.0 * losses.first().copied().unwrap_or(0.0),
            _ => high + 3.0 * (high - low).max(0.01 * middle),
        };
        let series: Vec<PlacedSeries> = self
            .series
            .iter()
            .map(|series| self.placed_series(series, most))
            .collect();
        let shown = || series.iter().flat_map(|series| &series.models);
        // The ends of the error bars, which can lie beyond all models.
        let bars = series.iter().flat_map(|series| {
            let means = series.means.iter().zip(&series.deviations);
            means.flat_map(|(&(_, mean), std)| {
                let std = std.unwrap_or(0.0);
                [mean - std, mean + std]
            })
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
        let mut placed = Placed {
            x: range(&mut shown().map(|&(x, _)| x)),
            y: range(&mut shown().map(|&(_, y)| y).chain(bars)),
            left_out: losses.len() - shown().count(),
            series,
            lines: false,
        };
        let compared = placed.series.len() > 1 && !self.drawn;
        placed.lines = self.seeds.is_none() && (placed.has_spread() || compared);
        placed
    }

    /// A series without the models whose loss is above `most`.
    fn placed_series(&self, series: &Series, most: f64) -> PlacedSeries {
        let mut models: Vec<(Value, f64)> = series.models.clone();
        models.retain(|(_, loss)| *loss <= most);
        models.sort_by(|a, b| a.0.cmp(&b.0));
        let mut placed = PlacedSeries::default();
        for same in models.chunk_by(|a, b| a.0 == b.0) {
            let x = self.place(&same[0].0);
            let losses: Vec<f64> = same.iter().map(|(_, loss)| *loss).collect();
            placed.models.extend(losses.iter().map(|&loss| (x, loss)));
            placed.means.extend(mean(&losses).map(|mean| (x, mean)));
            placed.deviations.push(deviation(&losses));
        }
        placed
    }

    /// Whether the lines are few enough to be told apart.
    fn has_legend(&self, placed: &Placed) -> bool {
        placed.lines && (2..=LINES.len()).contains(&self.series.len())
    }

    /// What a line joins, where there are too many of them for a legend.
    fn many_lines(&self, placed: &Placed) -> Option<String> {
        let many = placed.lines && self.series.len() > LINES.len();
        let others = self.others.join(", ");
        many.then(
            || match placed.series.iter().any(|series| series.means.len() > 1) {
                true => format!("a line joins means with the same {others}"),
                false => format!("every mean has another {others}, so no line joins them"),
            },
        )
    }
}

/// The letter of a line in the terminal.
fn letter(line: usize) -> char {
    (b'a' + line as u8) as char
}

/// The plot for a terminal.
pub fn terminal(axis: &Axis) -> String {
    let placed = axis.placed();
    let scale = if axis.log { ", log scale" } else { "" };
    let title = format!("val loss against {}{scale}", axis.name);
    if placed.series.iter().all(|series| series.models.is_empty()) {
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
        .series
        .iter()
        .flat_map(|series| &series.models)
        .flat_map(|&(x, y)| {
            let around = [(0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)];
            around.map(|(dx, dy)| to_dot((x + dx * dot.0, y + dy * dot.1)))
        })
        .collect();
    let means: Vec<Vec<(f32, f32)>> = placed
        .series
        .iter()
        .map(|series| series.means.iter().copied().map(to_dot).collect())
        .collect();
    let crosses = Shape::Points(&crosses);
    let lines: Vec<Shape<'_>> = means.iter().map(|means| Shape::Lines(means)).collect();
    let (x, y) = (to_dot(placed.x), to_dot(placed.y));
    let mut chart = Chart::new_with_y_range(width, height, x.0, x.1, y.0, y.1);
    // The library wants to own what it calls.
    let labels = [x.0, x.1].map(|place| (place, axis.label(place.into())));
    let label = move |place: f32| {
        let found = labels.iter().find(|(at, _)| *at == place);
        found.map_or(String::new(), |(_, label)| label.clone())
    };
    let chart = chart.x_label_format(LabelFormat::Custom(Box::new(label)));
    let chart = chart.y_label_format(LabelFormat::Custom(Box::new(|y| loss(y.into()))));
    let mut chart = chart.lineplot(&crosses);
    if placed.lines {
        for line in &lines {
            chart = chart.lineplot(line);
        }
    }
    chart.borders();
    chart.figures();
    // Dots that are not set are spaces for a terminal, and empty Braille letters for the library.
    let drawn = chart.to_string().replace('\u{2800}', " ");
    let mut letters: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
    let mut title = title;
    let mut legend = String::new();
    if axis.has_legend(&placed) {
        title += &format!("; a letter is the mean of its {}", axis.others.join(", "));
        for (line, series) in axis.series.iter().enumerate() {
            legend += &format!("  {}: {}\n", letter(line), series.label);
            for &(x, y) in &placed.series[line].means {
                let across = (x - placed.x.0) / (placed.x.1 - placed.x.0) * f64::from(width);
                let down = (placed.y.1 - y) / (placed.y.1 - placed.y.0) * f64::from(height);
                let row = letters.get_mut(down.round() as usize / 4);
                if let Some(at) = row.and_then(|row| row.get_mut(across.round() as usize / 2)) {
                    let other = at.is_ascii_graphic() && *at != letter(line);
                    *at = if other { '*' } else { letter(line) };
                }
            }
        }
        if letters.iter().flatten().any(|&at| at == '*') {
            legend += "  *: several of them\n";
        }
    } else if let Some(lines) = axis.many_lines(&placed) {
        title += &format!("; {lines}");
    } else if placed.lines {
        title += "; the line joins the means";
    }
    if let Some(note) = placed.note() {
        title = format!("{title}; {note}");
    }
    let rows: Vec<String> = letters.into_iter().map(String::from_iter).collect();
    format!("{title}\n{legend}{}\n", rows.join("\n"))
}

/// Draws all options into one picture.
///
/// # Errors
///
/// The file cannot be written.
pub fn png(path: &Path, axes: &[Axis]) -> Result<(), PlotError> {
    let columns = axes.len().clamp(1, 2) as u32;
    let rows = (axes.len() as u32).div_ceil(columns).max(1);
    canvas::png(path, (columns * WIDTH, rows * HEIGHT), |area| {
        let panels = area.split_evenly((rows as usize, columns as usize));
        (axes.iter().zip(&panels)).try_for_each(|(axis, panel)| draw(panel, axis))
    })
}

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

/// The colours of a line's models and of their mean.
fn colours(axis: &Axis, placed: &Placed, line: usize) -> (RGBColor, RGBColor) {
    match axis.has_legend(placed) {
        true => (LINES[line], LINES[line]),
        false => (MODEL, MEAN),
    }
}

/// An entry of the legend, and where it begins: row and pixels from the left.
struct Entry {
    text: String,
    /// The line that it names, if it names one.
    line: Option<usize>,
    at: (u32, u32),
}

/// The legend, which stands above the plot: inside, it would hide models.
fn legend<'a>(area: &Area<'a>, axis: &Axis, placed: &Placed) -> Result<Vec<Entry>, AreaError<'a>> {
    let mut texts = Vec::new();
    if axis.has_legend(placed) {
        texts.push((format!("{}:", axis.others.join(", ")), None));
        let labels = axis.series.iter().enumerate();
        texts.extend(labels.map(|(line, series)| (series.label.clone(), Some(line))));
    }
    texts.extend(axis.many_lines(placed).map(|text| (text, None)));
    texts.extend(placed.note().map(|text| (text, None)));
    let mut entries = Vec::new();
    let (mut row, mut x) = (0, 0);
    for (text, line) in texts {
        let (width, _) = area.estimate_text_size(&text, &font(13))?;
        let swatch = if line.is_some() { SWATCH } else { 0 };
        let width = width / SCALE + swatch + 16;
        if x > 0 && x + width > WIDTH - Y_LABELS - MARGIN - RIGHT {
            (row, x) = (row + 1, 0);
        }
        let at = (row, x);
        entries.push(Entry { text, line, at });
        x += width;
    }
    Ok(entries)
}

/// Width of the piece of a line in the legend.
const SWATCH: u32 = 26;

fn draw_legend<'a>(area: &Area<'a>, entries: &[Entry]) -> Result<(), AreaError<'a>> {
    for Entry { text, line, at } in entries {
        let left = scaled(MARGIN + Y_LABELS + at.1) as i32;
        let middle = scaled(MARGIN + CAPTION + at.0 * LEGEND_ROW + LEGEND_ROW / 2) as i32;
        let mut text_at = (left, middle);
        if let Some(line) = *line {
            let piece = scaled(SWATCH - 6) as i32;
            let ends = vec![(left, middle), (left + piece, middle)];
            area.draw(&PathElement::new(ends, LINES[line].stroke_width(scaled(2))))?;
            let mark = (left + piece / 2, middle);
            area.draw(&Circle::new(mark, scaled(4), LINES[line].filled()))?;
            text_at.0 += scaled(SWATCH) as i32;
        }
        let style = font(13).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(text.as_str(), text_at, style))?;
    }
    Ok(())
}

fn draw<'a>(area: &Area<'a>, axis: &Axis) -> Result<(), AreaError<'a>> {
    let placed = axis.placed();
    let entries = legend(area, axis, &placed)?;
    let rows = entries
        .iter()
        .map(|entry| entry.at.0 + 1)
        .max()
        .unwrap_or(0);
    let caption = Text::new(
        format!("Validation loss against {}", axis.name),
        (scaled(WIDTH / 2) as i32, scaled(MARGIN) as i32),
        font(18).pos(Pos::new(HPos::Center, VPos::Top)),
    );
    area.draw(&caption)?;
    draw_legend(area, &entries)?;
    let (_, below) = area.split_vertically(scaled(MARGIN + CAPTION + rows * LEGEND_ROW));
    let mut chart = ChartBuilder::on(&below)
        .margin(scaled(MARGIN))
        .margin_top(scaled(2))
        .margin_right(scaled(RIGHT))
        .x_label_area_size(scaled(X_LABELS))
        .y_label_area_size(scaled(Y_LABELS))
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
    let means = match axis.has_legend(&placed) {
        true => "lines",
        false => "orange",
    };
    let x_desc = match placed.lines && placed.has_spread() {
        true => format!("{x_desc}; {means}: mean ± standard deviation over the seeds"),
        false => x_desc,
    };
    let mut mesh = chart.configure_mesh();
    style_mesh(&mut mesh, 13);
    mesh.x_labels(6)
        .y_labels(7)
        .x_label_formatter(&|x| axis.label(*x))
        .y_label_formatter(&|y| loss(*y))
        .x_desc(x_desc)
        .y_desc("val loss, nats")
        .draw()?;
    let pixel = (placed.x.1 - placed.x.0) / f64::from(WIDTH);
    for (line, series) in placed.series.iter().enumerate() {
        let (colour, _) = colours(axis, &placed, line);
        let dot = |&point: &_| Circle::new(point, scaled(3), colour.mix(0.6).filled());
        chart.draw_series(series.models.iter().map(dot))?;
    }
    if !placed.lines {
        return Ok(());
    }
    let thin = axis.many_lines(&placed).is_some();
    for (line, series) in placed.series.iter().enumerate() {
        let (_, colour) = colours(axis, &placed, line);
        let stroke = colour.stroke_width(scaled(if thin { 1 } else { 2 }));
        let pieces = series.means.windows(2);
        chart.draw_series(pieces.map(|piece| PathElement::new(piece.to_vec(), stroke)))?;
        // Three strokes: from end to end, and a cap at each, as wide as six pixels.
        let cap = 6.0 * pixel;
        let bars = series.means.iter().zip(&series.deviations);
        let strokes = bars.filter_map(|(&(x, mean), &std)| Some((x, mean, std?)));
        let strokes = strokes.flat_map(|(x, mean, std)| {
            let (low, high) = (mean - std, mean + std);
            let cap_at = |y| vec![(x - cap, y), (x + cap, y)];
            [vec![(x, low), (x, high)], cap_at(low), cap_at(high)]
        });
        chart.draw_series(strokes.map(|ends| PathElement::new(ends, stroke)))?;
        let radius = scaled(if thin { 3 } else { 4 });
        let dot = |&point: &_| Circle::new(point, radius, colour.filled());
        chart.draw_series(series.means.iter().map(dot))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(points: &[(f64, f64)]) -> Vec<(Value, f64)> {
        let points = points.iter();
        points.map(|&(v, loss)| (Value::Real(v), loss)).collect()
    }

    fn axis(log: bool, points: &[(f64, f64)]) -> Axis {
        let series = Series {
            label: String::new(),
            models: models(points),
        };
        Axis::new("lr", log, false, Vec::new(), vec![series])
    }

    /// Two rates with two seeds each for every size; the losses of the sizes are far apart.
    fn of_sizes(count: u64) -> Axis {
        let series = |size: u64| {
            let loss = 2.0 + size as f64;
            let losses = [(0.1, 0.001), (0.1, -0.001), (0.2, 0.1), (0.2, 0.102)];
            Series {
                label: (64 << size).to_string(),
                models: models(&losses.map(|(lr, above)| (lr, loss + above))),
            }
        };
        let series = (0..count).map(series).collect();
        Axis::new("lr", false, false, vec!["n_hidden"], series)
    }

    /// The picture of one axis, row by row.
    fn picture(axis: Axis) -> Vec<Vec<[u8; 3]>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        png(&path, &[axis]).unwrap();
        let file = std::io::BufReader::new(std::fs::File::open(&path).unwrap());
        let mut reader = ::png::Decoder::new(file).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        let (pixels, _) = pixels.as_chunks::<3>();
        pixels.chunks(WIDTH as usize).map(<[_]>::to_vec).collect()
    }

    /// How many rows of a picture have a colour.
    fn rows_with(picture: &[Vec<[u8; 3]>], colour: RGBColor) -> usize {
        let colour = [colour.0, colour.1, colour.2];
        picture.iter().filter(|row| row.contains(&colour)).count()
    }

    #[test]
    fn means_are_taken_at_each_value() {
        let placed = axis(true, &[(0.1, 3.0), (0.01, 2.5), (0.1, 5.0)]).placed();
        assert_eq!(placed.series[0].means, [(-2.0, 2.5), (-1.0, 4.0)]);
        assert!(placed.lines);
    }

    #[test]
    fn error_bars_are_within_the_picture() {
        let placed = axis(false, &[(1.0, 2.0), (1.0, 4.0), (2.0, 3.0)]).placed();
        let std = 2.0_f64.sqrt();
        let deviations = &placed.series[0].deviations;
        assert!((deviations[0].unwrap() - std).abs() < 1e-12);
        assert_eq!(deviations[1], None);
        assert!(
            placed.y.0 < 3.0 - std && placed.y.1 > 3.0 + std,
            "{:?}",
            placed.y
        );
    }

    #[test]
    fn error_bars_are_drawn() {
        let rows = |points: &[(f64, f64)]| rows_with(&picture(axis(false, points)), MEAN);
        // The line is level: what is tall is the bar of the first value, and the second has none.
        let spread = rows(&[(1.0, 2.0), (1.0, 4.0), (2.0, 3.0)]);
        assert!(spread > HEIGHT as usize / 2, "{spread} rows");
        let alike = rows(&[(1.0, 3.0), (1.0, 3.0), (2.0, 3.0)]);
        assert!(alike < 16, "{alike} rows");
    }

    /// The spread over the seeds is 0.001; over the sizes it is 1.
    #[test]
    fn error_bars_are_of_the_seeds_alone() {
        let placed = of_sizes(2).placed();
        assert_eq!(placed.series.len(), 2);
        for series in &placed.series {
            assert_eq!(series.means.len(), 2);
            for std in &series.deviations {
                assert!(std.unwrap() < 0.0015, "{std:?}");
            }
        }
    }

    #[test]
    fn each_line_has_its_colour_and_an_entry_in_the_legend() {
        let axis = of_sizes(3);
        let text = terminal(&axis);
        for (line, label) in ["  a: 64\n", "  b: 128\n", "  c: 256\n"].iter().enumerate() {
            assert!(text.contains(label), "{label:?} in {text}");
            let plot = text.lines().skip(4);
            let times: usize = plot.map(|row| row.matches(letter(line)).count()).sum();
            assert_eq!(times, 2, "{line} in {text}");
        }
        assert!(text.contains("a letter is the mean of its n_hidden"));
        let picture = picture(axis);
        let legend = (MARGIN + CAPTION) as usize..(MARGIN + CAPTION + LEGEND_ROW) as usize;
        for colour in &LINES[..3] {
            assert!(rows_with(&picture[legend.clone()], *colour) > 0);
            assert!(rows_with(&picture[legend.end..], *colour) > 0);
        }
        assert_eq!(rows_with(&picture, LINES[3]), 0);
    }

    #[test]
    fn more_lines_than_colours_have_no_legend() {
        let axis = of_sizes(9);
        let text = terminal(&axis);
        let joined = "a line joins means with the same n_hidden";
        assert!(text.contains(joined), "{text}");
        let picture = picture(axis);
        assert!(rows_with(&picture, MEAN) > 0);
        assert_eq!(rows_with(&picture, LINES[2]), 0);
    }

    #[test]
    fn neighbouring_seeds_beyond_the_floats_stay_apart() {
        let first = 1 << 53;
        let series = Series {
            label: String::new(),
            models: vec![(Value::Whole(first + 1), 2.0), (Value::Whole(first), 2.01)],
        };
        let axis = Axis::new("seed", false, false, Vec::new(), vec![series]);
        let placed = axis.placed();
        assert_eq!(placed.series[0].means, [(0.0, 2.01), (1.0, 2.0)]);
        let labels = axis
            .ticks(&placed)
            .into_iter()
            .map(|place| axis.label(place));
        let labels: Vec<String> = labels.collect();
        assert_eq!(labels, ["9007199254740992", "9007199254740993"]);
        assert!(terminal(&axis).contains("9007199254740993"));
    }

    #[test]
    fn a_loss_far_above_the_others_does_not_press_them_together() {
        let mut points: Vec<(f64, f64)> = (0..9).map(|i| (f64::from(i), 2.0)).collect();
        points.push((9.0, 1e20));
        let placed = axis(false, &points).placed();
        assert!(placed.y.1 < 10.0 && placed.x.1 < 9.0, "{:?}", placed.y);
        assert_eq!(placed.left_out, 1);
        // Of two, none is the rule to which the other would be the exception, unless it is far off.
        for (loss, left_out) in [(2.1, 0), (3.9, 0), (4.1, 1)] {
            let two = axis(false, &[(1.0, 2.0), (2.0, loss)]).placed();
            assert_eq!(two.left_out, left_out, "{loss}");
        }
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
