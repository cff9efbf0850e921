//! Trains the lecture's model, evaluates it, and invents some names: the library in short.
//!
//! ```text
//! cargo run --release --example train
//! ```

use std::error::Error;

use gpu_makemore::{Api, Backend, Engine, Event, Recipe, Sampler, State, Training};
use gpu_makemore::{Instant, data, evaluation, sample};

fn main() -> Result<(), Box<dyn Error>> {
    pollster::block_on(train())
}

async fn train() -> Result<(), Box<dyn Error>> {
    let recipe = Recipe {
        steps: 20_000,
        ..Recipe::default()
    };
    let names = data::load(&data::Options::default())?;
    let dims = recipe.dims(names.vocab.len())?;
    let start = State::first(&recipe, &dims, recipe.steps / 10);
    let mut engine = Engine::new(Api::Auto, dims, &start.now.params).await?;
    let mut training = Training::new(&names.train, &recipe, start, recipe.steps);
    while let Some(steps) = training.next_steps() {
        let (begun, mut losses) = (Instant::now(), Vec::new());
        engine.train(&steps, &mut losses).await?;
        training.accept_losses(&losses, begun.elapsed())?;
        for event in training.accept_params(engine.params().await?)? {
            if let Event::Row(row) = event {
                println!("{:7}/{:7}: {:.4}", row.step, recipe.steps, row.loss);
            }
        }
    }
    let params = training.state().now.params.clone();
    let stats = evaluation::calibrate(&mut engine, &params, &names.train).await?;
    let [train, val, _] = evaluation::losses(&mut engine, &stats, &names).await?;
    println!("train {train:.4}\nval   {val:.4}");
    let mut sampler = Sampler::new(dims, params, stats, 2_147_483_657);
    for _ in 0..10 {
        println!("{}", sample::text(&names.vocab, &sampler.name(&[])));
    }
    Ok(())
}
