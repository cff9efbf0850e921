//! `gpu-makemore-bindgen WASM DIR NAME`: makes the module DIR/NAME.js and its NAME_bg.wasm of what the compiler made of
//! web/engine. The same as `wasm-bindgen --target web --remove-name-section --out-dir DIR --out-name NAME WASM`.

use std::env;
use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [wasm, folder, name] = &arguments[..] else {
        eprintln!("usage: gpu-makemore-bindgen WASM DIR NAME");
        return ExitCode::from(2);
    };
    let mut bindgen = Bindgen::new();
    let made = bindgen.web(true).and_then(|bindgen| {
        bindgen
            .input_path(wasm)
            .out_name(name)
            .typescript(true)
            .omit_default_module_path(false)
            // The names of functions, 70 kB compressed, would serve only profilers.
            .remove_name_section(true)
            .generate(folder)
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}
