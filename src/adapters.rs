//! `gpu-makemore adapters`: what was found on every API, and what `auto` would take.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::error::Error;
use crate::gpu::adapter::{Api, Choice, Found, api_name, choose, enumerate, install_hint};
use crate::report::Output;

/// Prints the table.
pub fn run() -> Result<(), Error> {
    let mut out = Output::new();
    let found = enumerate(Api::Auto);
    if found.is_empty() {
        out.line("No GPU adapter was found on any API.")?;
        out.line(&format!("To get one: {}.", install_hint()))?;
    } else {
        for line in table(&found).to_string().lines() {
            out.line(line.trim_end())?;
        }
        out.line("")?;
        if found.iter().all(Found::is_software) {
            out.line("All of them are software adapters: they compute on the processor, slower than --backend cpu.")?;
            out.line(&format!("To get a hardware one: {}.", install_hint()))?;
        }
    }
    match choose(Api::Auto, None)? {
        Choice::Gpu { found, why } => out.line(&format!("--backend auto takes {found}: {why}"))?,
        Choice::Cpu { why } => out.line(&format!("--backend auto takes the CPU: {why}"))?,
    }
    Ok(())
}

fn table(found: &[Found]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header([
        "backend",
        "adapter",
        "type",
        "driver",
        "buffer",
        "workgroup",
        "threads",
        "bindings",
    ]);
    for f in found {
        let limits = f.adapter.limits();
        let compute = |text: String| {
            if f.computes() {
                text
            } else {
                "no compute".to_owned()
            }
        };
        table.add_row([
            api_name(f.info.backend).to_owned(),
            f.info.name.clone(),
            f.kind().to_owned(),
            f.driver(),
            compute(format!(
                "{} MiB",
                limits.max_storage_buffer_binding_size >> 20
            )),
            compute(format!(
                "{} KiB",
                limits.max_compute_workgroup_storage_size >> 10
            )),
            compute(limits.max_compute_invocations_per_workgroup.to_string()),
            compute(limits.max_storage_buffers_per_shader_stage.to_string()),
        ]);
    }
    table
}
