//! Draws the three growth curves that `cargo bench` measured, and prints their numbers as tables:
//!
//! ```sh
//! cargo bench && cargo run --release --example growth
//! ```
//!
//! An example costs the same in a minibatch of any size, as far as the arithmetic goes: what falls in
//! the first curve is what a launch or a step costs by itself, shared by more examples. With the hidden
//! layer the arithmetic of an example grows in proportion, which a grey line shows in the second curve.
//! In the third one, models are added: while a device has cores to spare, a further model takes no
//! time, and an example becomes cheaper along the grey line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use clap::Parser;
use plotters::coord::Shift;
use plotters::coord::combinators::{BindKeyPoints, IntoLogRange};
use plotters::prelude::*;
use plotters::style::register_font;
use plotters::style::text_anchor::{HPos, Pos, VPos};

type Error = Box<dyn std::error::Error>;

/// Draws the growth curves from what criterion saved.
#[derive(Parser)]
struct Args {
    /// The picture [default: growth.png in the folder of criterion's results]
    png: Option<PathBuf>,
    /// Folder of criterion's results
    #[arg(long, default_value = "target/criterion")]
    criterion: PathBuf,
}

/// Microseconds of an example, by batch size, by hidden size or by models.
type Curve = BTreeMap<u32, f64>;

/// One curve of each backend.
type Curves = BTreeMap<String, Curve>;

/// All three, each with every backend, so that one has the same colour in all.
#[derive(Default)]
struct Growth {
    batch: Curves,
    hidden: Curves,
    models: Curves,
}

/// Examples of a minibatch where it does not grow.
const BATCH: u32 = 32;

/// Criterion keeps the results of runs gone by. A run takes minutes: what is this much older than
/// the newest is not of the same one, and must not be drawn beside it.
const ONE_RUN: Duration = Duration::from_secs(3600);

const SIZE: (u32, u32) = (1600, 640);
/// Drawn this much larger, then averaged down: plotters does not smooth the edges of wide lines.
const SCALE: u32 = 4;
const FONT: &str = "dejavu";
const INK: RGBColor = RGBColor(0x26, 0x26, 0x26);
const GRID: RGBColor = RGBColor(0xd4, 0xd4, 0xd4);
const FINE_GRID: RGBColor = RGBColor(0xf0, 0xf0, 0xf0);
const GUIDE: RGBColor = RGBColor(0x99, 0x99, 0x99);
/// The colours of Okabe and Ito, which colour-blind readers tell apart.
const COLORS: [RGBColor; 7] = [
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xe6, 0x9f, 0x00),
];

fn main() -> ExitCode {
    match draw_growth(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn draw_growth(args: &Args) -> Result<(), Error> {
    let growth = read(&args.criterion)?;
    let Growth {
        batch,
        hidden,
        models,
    } = &growth;
    table("µs an example, by batch; hidden 200", batch, |_, _, us| us);
    table("µs an example, by hidden; batch 32", hidden, |_, _, us| us);
    let title = "ns an example and hidden unit, by hidden; batch 32";
    table(title, hidden, |_, units, us| us * 1e3 / f64::from(units));
    // Of the time of one example: that of a step of all models.
    let step = |models: u32, us: f64| us * f64::from(models * BATCH);
    let title = "model-steps a second, by models at once; lecture";
    table(title, models, |_, n, us| f64::from(n) * 1e6 / step(n, us));
    let title = "time of a step of all models, times that of one";
    table(title, models, |curve, n, us| {
        curve
            .get(&1)
            .map_or(f64::NAN, |&one| step(n, us) / step(1, one))
    });
    let png = match &args.png {
        Some(png) => png.clone(),
        None => args.criterion.join("growth.png"),
    };
    let image = encode(&draw(&growth)?)?;
    fs::write(&png, image).map_err(|e| format!("cannot write {}: {e}", png.display()))?;
    println!("\nthe curves are in {}", png.display());
    Ok(())
}

/// The curves, from every `new/estimates.json` below `folder`.
fn read(folder: &Path) -> Result<Growth, Error> {
    let absent = || {
        format!(
            "no results in {}; run `cargo bench` first",
            folder.display()
        )
    };
    let mut found = Vec::new();
    if folder.exists() {
        find(folder, &mut found).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
    }
    let newest = found.iter().map(|f| f.1).max().ok_or_else(absent)?;
    let (mut growth, mut old) = (Growth::default(), 0);
    for (path, modified) in found {
        let json = |name| -> Result<serde_json::Value, Error> {
            Ok(serde_json::from_slice(&fs::read(path.join(name))?)?)
        };
        let about = json("benchmark.json")?;
        let text = |key| about[key].as_str().unwrap_or_default();
        let (group, name, size) = (text("group_id"), text("function_id"), text("value_str"));
        if newest.duration_since(modified)? > ONE_RUN {
            old += 1;
            continue;
        }
        let ns = json("estimates.json")?["median"]["point_estimate"]
            .as_f64()
            .ok_or("an estimate without a median")?;
        let Growth {
            batch,
            hidden,
            models,
        } = &mut growth;
        for curves in [&mut *batch, &mut *hidden, &mut *models] {
            curves.entry(name.to_owned()).or_default();
        }
        let insert = |curves: &mut Curves, size: u32, examples: u32| {
            let curve = curves.entry(name.to_owned()).or_default();
            curve.insert(size, ns / 1e3 / f64::from(examples));
        };
        match group {
            "lecture" => {
                insert(batch, BATCH, BATCH);
                insert(hidden, 200, BATCH);
            }
            "batch" => insert(batch, size.parse()?, size.parse()?),
            "hidden" => insert(hidden, size.parse()?, BATCH),
            "models" => {
                let count = size.parse()?;
                insert(models, count, count * BATCH);
            }
            _ => {} // a single point, on no curve
        }
    }
    if old > 0 {
        println!(
            "{old} results in {} are of earlier runs and left out",
            folder.display()
        );
    }
    Ok(growth)
}

/// The folders with an `estimates.json` of a latest run, and when it was written.
fn find(folder: &Path, found: &mut Vec<(PathBuf, SystemTime)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if path.ends_with("new/estimates.json") {
            let modified = path.metadata()?.modified()?;
            found.extend(path.parent().map(|parent| (parent.to_path_buf(), modified)));
        }
    }
    Ok(())
}

/// Prints a table in Markdown.
fn table(title: &str, curves: &Curves, value: impl Fn(&Curve, u32, f64) -> f64) {
    let sizes = sizes(curves);
    let head: String = sizes.iter().map(|size| format!(" {size} |")).collect();
    println!("\n| {title} |{head}\n|---|{}", "--:|".repeat(sizes.len()));
    for (name, curve) in curves.iter().filter(|(_, curve)| !curve.is_empty()) {
        let cells = sizes.iter().map(|size| match curve.get(size) {
            Some(&us) => format!(" {} |", significant(value(curve, *size, us))),
            None => " |".to_owned(),
        });
        println!("| {} |{}", label(name), cells.collect::<String>());
    }
}

/// All sizes that some curve has a point at.
fn sizes(curves: &Curves) -> Vec<u32> {
    let mut sizes: Vec<u32> = curves.values().flat_map(|c| c.keys().copied()).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

/// Three digits that count.
fn significant(value: f64) -> String {
    let decimals = (2.0 - value.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

/// `staged_vulkan_ADAPTER` as a reader wants it.
fn label(name: &str) -> String {
    name.splitn(3, '_').collect::<Vec<_>>().join(", ")
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// RGB pixels, row by row.
fn draw(growth: &Growth) -> Result<Vec<u8>, Error> {
    register_font(FONT, FontStyle::Normal, dejavu::sans::regular())
        .map_err(|_| "the built-in font cannot be read")?;
    let (width, height) = (SIZE.0 * SCALE, SIZE.1 * SCALE);
    let mut large = vec![0; (width * height * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut large, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let Growth {
            batch,
            hidden,
            models,
        } = growth;
        // One axis of time for all, so that they can be compared, with some air around.
        let values = || {
            [batch, hidden, models]
                .into_iter()
                .flat_map(BTreeMap::values)
                .flat_map(BTreeMap::values)
        };
        let low = values().copied().fold(f64::INFINITY, f64::min) / 1.6;
        let high = values().copied().fold(0.0, f64::max) * 1.6;
        let rows = hidden.len().div_ceil(2) as u32;
        let (charts, legend) = area.split_vertically(height - (rows * 24 + 16) * SCALE);
        let charts = charts.split_evenly((1, 3));
        let titles = [
            (batch, "Minibatch grows, hidden 200", "batch", Guide::None),
            (
                hidden,
                "Hidden layer grows, batch 32",
                "hidden",
                Guide::Proportional,
            ),
            (
                models,
                "Models at once, batch 32, hidden 200",
                "models",
                Guide::Free,
            ),
        ];
        for (area, (curves, title, x, guide)) in charts.iter().zip(titles) {
            chart(area, curves, title, x, low..high, guide)?;
        }
        draw_legend(&legend, hidden)?;
        area.present()?;
    }
    Ok(average_down(&large))
}

/// A grey line to compare a curve with.
#[derive(Clone, Copy, PartialEq)]
enum Guide {
    None,
    /// The cost of an example grows with the size.
    Proportional,
    /// More of them cost nothing, so that an example becomes cheaper.
    Free,
}

/// One set of curves.
fn chart(
    area: &Area<'_>,
    curves: &Curves,
    title: &str,
    x: &str,
    us: std::ops::Range<f64>,
    guide: Guide,
) -> Result<(), Error> {
    let sizes: Vec<f64> = sizes(curves).into_iter().map(f64::from).collect();
    let (Some(first), Some(last)) = (sizes.first(), sizes.last()) else {
        return Err("the results lack a growth curve; run `cargo bench` without a filter".into());
    };
    let (first, last) = (*first, *last);
    let decades = us.start.log10().floor() as i32..=us.end.log10().ceil() as i32;
    let lines = |digits: std::ops::Range<i32>| -> Vec<f64> {
        decades
            .clone()
            .map(|power| 10_f64.powi(power))
            .flat_map(|power| digits.clone().map(move |digit| f64::from(digit) * power))
            .filter(|line| us.contains(line))
            .collect()
    };
    let mut chart = ChartBuilder::on(area)
        .caption(title, font(18))
        .margin(10 * SCALE)
        .margin_right(24 * SCALE)
        .x_label_area_size(48 * SCALE)
        .y_label_area_size(68 * SCALE)
        .build_cartesian_2d(
            (first / 1.15..last * 1.15)
                .log_scale()
                .with_key_points(sizes.clone()),
            us.clone()
                .log_scale()
                .with_key_points(lines(1..2))
                .with_light_points(lines(2..10)),
        )?;
    chart
        .configure_mesh()
        .light_line_style(FINE_GRID.stroke_width(SCALE))
        .bold_line_style(GRID.stroke_width(SCALE))
        .axis_style(INK.stroke_width(SCALE))
        .set_all_tick_mark_size(4 * SCALE)
        .y_label_offset(2 * SCALE) // plotters sets them a little high
        .x_label_formatter(&|size| size.to_string())
        .y_label_formatter(&|us| us.to_string())
        .label_style(font(14))
        .axis_desc_style(font(15))
        .x_desc(x)
        .y_desc("µs an example")
        .draw()?;

    // Below the curves that grow, and above those that fall.
    let line = match guide {
        Guide::None => None,
        Guide::Proportional => {
            let start = us.start * 1.5;
            let end = start * last / first;
            Some((start, end, end / 2.7, "in proportion to hidden"))
        }
        Guide::Free => {
            let start = us.end / 1.5;
            let end = start * first / last;
            Some((start, end, start, "further models for nothing"))
        }
    };
    if let Some((start, end, text_at, text)) = line {
        let line = vec![(first, start), (last, end)];
        chart.draw_series([PathElement::new(line, GUIDE.stroke_width(SCALE))])?;
        let style = (FONT, 13 * SCALE)
            .into_font()
            .color(&GUIDE)
            .pos(Pos::new(HPos::Right, VPos::Top));
        chart.draw_series([Text::new(text, (last, text_at), style)])?;
    }
    for (i, curve) in curves.values().enumerate() {
        let points: Vec<(f64, f64)> = curve.iter().map(|(&x, &us)| (f64::from(x), us)).collect();
        let line = COLORS[i % COLORS.len()].stroke_width(2 * SCALE);
        let dots: Vec<_> = points.iter().flat_map(|&at| dot(at, i)).collect();
        chart.draw_series([PathElement::new(points, line)])?;
        chart.draw_series(dots)?;
    }
    Ok(())
}

/// A point of curve `i`: full, or hollow once the colours are used up.
fn dot<At: Copy>(at: At, i: usize) -> Vec<Circle<At, u32>> {
    let full = Circle::new(at, 4 * SCALE, COLORS[i % COLORS.len()].filled());
    let hole = Circle::new(at, 2 * SCALE, WHITE.filled());
    match i < COLORS.len() {
        true => vec![full],
        false => vec![full, hole],
    }
}

/// The names of the curves, in two columns.
fn draw_legend(area: &Area<'_>, curves: &Curves) -> Result<(), Error> {
    let (width, _) = area.dim_in_pixel();
    let rows = curves.len().div_ceil(2);
    for (i, name) in curves.keys().enumerate() {
        let x = ((i / rows) as u32 * width / 2 + 78 * SCALE) as i32;
        let y = ((i % rows) as u32 * 24 * SCALE + 12 * SCALE) as i32;
        let (scale, line) = (
            SCALE as i32,
            COLORS[i % COLORS.len()].stroke_width(2 * SCALE),
        );
        let ends = vec![(x, y), (x + 26 * scale, y)];
        area.draw(&PathElement::new(ends, line))?;
        for circle in dot((x + 13 * scale, y), i) {
            area.draw(&circle)?;
        }
        let style = font(14).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw(&Text::new(label(name), (x + 34 * scale, y), style))?;
    }
    Ok(())
}

/// Text in the program's own font: a machine without a screen often has none.
fn font(size: u32) -> TextStyle<'static> {
    (FONT, size * SCALE).into_font().color(&INK)
}

/// The mean of each `SCALE` x `SCALE` block of pixels.
fn average_down(large: &[u8]) -> Vec<u8> {
    let (width, scale) = (SIZE.0 as usize, SCALE as usize);
    let mut small = Vec::with_capacity(large.len() / scale / scale);
    for rows in large.chunks_exact(width * scale * 3 * scale) {
        let mut sums = vec![0; width * 3];
        for (i, &value) in rows.iter().enumerate() {
            let column = i / 3 % (width * scale) / scale;
            sums[column * 3 + i % 3] += u32::from(value);
        }
        small.extend(sums.iter().map(|sum| (sum / (SCALE * SCALE)) as u8));
    }
    small
}

fn encode(pixels: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}
