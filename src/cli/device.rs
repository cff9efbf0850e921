//! What a command runs on: the answer to `--backend` and `--adapter`.

use std::borrow::Cow;
use std::env;
use std::path::Path;

use clap::ValueEnum;
use clap::builder::PossibleValue;

use crate::backend::{Api, DeviceError, Schedule};
use crate::cli::args::{DeviceArgs, pick};
use crate::cli::error::{Error, Failure, Usage};
use crate::cli::shaders::{Shaders, on_the_cpu};
use crate::cpu::CpuBackend;
use crate::engine::{Engine, How, Opened, open_on};
use crate::gpu::adapter::{Choice, Pick, Why, api_name, choose, list};
use crate::gpu::staged::Staged;
use crate::model::dims::Dims;
use crate::model::params::Params;

/// What a command runs on.
pub struct Device {
    choice: Choice,
    /// The options and variables that asked for it.
    asked: String,
}

/// What was asked for is not there, or cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{asked}: {error}{}", match .number {
    Some(number) => format!("; where {number} is part of a name, write name:{number}"),
    None => String::new(),
})]
pub struct Unmet {
    asked: String,
    error: DeviceError,
    /// The number of the adapter that was asked for.
    number: Option<usize>,
}

impl Failure for Unmet {
    fn device(&self) -> Option<&DeviceError> {
        Some(&self.error)
    }
}

/// wgpu's variables, which its other programs know too. An empty one is none.
const BACKEND: &str = "WGPU_BACKEND";
const ADAPTER_NAME: &str = "WGPU_ADAPTER_NAME";

/// What options and variables ask for.
#[derive(Debug, PartialEq)]
struct Asked {
    apis: Vec<Api>,
    pick: Option<Pick>,
    /// By which of them.
    by: String,
}

impl Asked {
    /// Each variable stands for the option that is not given.
    fn new(args: &DeviceArgs, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Usage> {
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        let (apis, by_api) = match (args.backend, variable(BACKEND)) {
            (Some(api), _) => {
                let name = api.to_possible_value();
                let name = name.as_ref().map_or("", PossibleValue::get_name);
                (
                    vec![api],
                    (api != Api::Auto).then(|| format!("--backend {name}")),
                )
            }
            (None, Some(list)) => {
                let apis = Api::of_list(&list).map_err(|part| {
                    Usage(format!(
                        "{BACKEND}={list}: '{part}' is no API that is known here; take vulkan, metal, \
                         dx12 or gl, or several with commas, or unset the variable"
                    ))
                })?;
                (apis, Some(format!("{BACKEND}={}", quoted(&list))))
            }
            (None, None) => (vec![Api::Auto], None),
        };
        if apis == [Api::Cpu] {
            if args.adapter.is_some() {
                let message = "--adapter chooses a GPU; it cannot be combined with --backend cpu";
                return Err(Usage(message.to_owned()));
            }
            let by = by_api.unwrap_or_default();
            return Ok(Self {
                apis,
                pick: None,
                by,
            });
        }
        let (pick, by_adapter) = match (&args.adapter, variable(ADAPTER_NAME)) {
            (Some(text), _) => {
                let pick = pick(text).map_err(|e| Usage(format!("--adapter '{text}' {e}")))?;
                (Some(pick), Some(format!("--adapter {}", quoted(text))))
            }
            (None, Some(name)) => {
                let by = format!("{ADAPTER_NAME}={}", quoted(&name));
                (Some(Pick::Name(name)), Some(by))
            }
            (None, None) => (None, None),
        };
        let by: Vec<String> = by_api.into_iter().chain(by_adapter).collect();
        let by = by.join(", ");
        Ok(Self { apis, pick, by })
    }
}

/// As a shell would need it.
fn quoted(text: &str) -> Cow<'_, str> {
    match text.contains(char::is_whitespace) {
        true => format!("'{text}'").into(),
        false => text.into(),
    }
}

impl Device {
    /// Resolves `--backend` and `--adapter`, and the variables that stand for them.
    pub async fn choose(args: &DeviceArgs) -> Result<Self, Error> {
        let variable = |name: &str| Some(env::var_os(name)?.to_string_lossy().into_owned());
        let Asked { apis, pick, by } = Asked::new(args, variable)?;
        let choice = choose(&apis, pick.as_ref()).await;
        match choice {
            Ok(choice) => Ok(Self { choice, asked: by }),
            Err(error) => {
                let number = match pick {
                    Some(Pick::Number(number)) => Some(number),
                    _ => None,
                };
                let asked = by;
                Err((Unmet {
                    asked,
                    error,
                    number,
                })
                .into())
            }
        }
    }

    /// Whatever takes the best hardware GPU, and no option or variable is asked.
    pub async fn automatic() -> Result<Self, Error> {
        Ok(Self {
            choice: choose(&[Api::Auto], None).await?,
            asked: String::new(),
        })
    }

    /// The choice itself.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// The options and variables that asked for it; empty, if none did.
    pub fn asked(&self) -> &str {
        &self.asked
    }

    /// A backend for one model.
    pub async fn open(&self, dims: Dims, params: &Params<f32>) -> Result<Engine, Error> {
        Ok(match &self.choice {
            Choice::Cpu { .. } => CpuBackend::new(dims, params.clone()).into(),
            Choice::Gpu { found, .. } => Staged::new(found, dims, params).await?.into(),
        })
    }

    /// A backend that trains, with the schedule that was asked for, and why it has that one.
    pub async fn open_to_train(
        &self,
        dims: Dims,
        params: &Params<f32>,
        how: How,
    ) -> Result<Opened<Engine>, Error> {
        let asked = how.schedule;
        if asked != Schedule::Auto {
            self.needs_gpu(&format!("--schedule {asked}"))?;
        }
        Ok(open_on(&self.choice, dims, params, how).await?)
    }

    /// The kernels of `--shaders`, or the program's own.
    ///
    /// # Errors
    ///
    /// This is the CPU, where no kernel runs; or the files cannot be taken for kernels.
    pub fn shaders(&self, folder: Option<&Path>) -> Result<Shaders, Error> {
        if let (Some(_), Choice::Cpu { .. }) = (folder, &self.choice) {
            return Err(on_the_cpu(&self.why()).into());
        }
        Ok(Shaders::load(folder)?)
    }

    /// Refuses an option that a run on the CPU has no answer to.
    pub fn needs_gpu(&self, option: &str) -> Result<(), Error> {
        match &self.choice {
            Choice::Gpu { .. } => Ok(()),
            Choice::Cpu { .. } => Err(Usage(format!(
                "{option} is about GPUs, and this run is on the CPU: {}",
                self.why()
            ))
            .into()),
        }
    }

    /// What it is, in a few words.
    pub fn name(&self) -> String {
        match &self.choice {
            Choice::Cpu { .. } => "CPU".to_owned(),
            Choice::Gpu { found, .. } => {
                format!("{}, {}", found.info.name, api_name(found.info.backend))
            }
        }
    }

    /// Why it was taken, and what to expect of it if it is a software adapter.
    pub fn why(&self) -> String {
        match &self.choice {
            Choice::Cpu { why } => self.reason(why),
            Choice::Gpu { found, why } if found.is_software() => format!(
                "{}; a software adapter, which computes on the processor: --backend cpu is much \
                 faster",
                self.reason(why)
            ),
            Choice::Gpu { found, why } => format!("{}; {}", self.reason(why), found.kind()),
        }
    }

    /// Why it was taken.
    pub fn reason(&self, why: &Why) -> String {
        match why {
            Why::Asked { of: 0 | 1 } => self.asked.clone(),
            Why::Asked { of } => format!(
                "{}, the first of {of} with this text (`gpu-makemore adapters` numbers them)",
                self.asked
            ),
            Why::Best => "the best GPU found".to_owned(),
            Why::NoneFound => {
                "no GPU was found; `gpu-makemore adapters` tells what would bring one".to_owned()
            }
            Why::OnlySoftware(found) => format!(
                "no hardware GPU was found, only {}; --backend {} would use it",
                list(found, false),
                found.first().map_or("", |f| api_name(f.info.backend))
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(
        backend: Option<Api>,
        adapter: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Asked, String> {
        let args = DeviceArgs {
            backend,
            adapter: adapter.map(str::to_owned),
        };
        let set = |name: &str| {
            let set = variables.iter().find(|(set, _)| *set == name);
            set.map(|(_, value)| (*value).to_owned())
        };
        Asked::new(&args, set).map_err(|e| e.to_string())
    }

    #[test]
    fn a_variable_stands_for_the_option_that_is_not_given() {
        let name = |text: &str| Some(Pick::Name(text.to_owned()));
        let text = |text: &str| Some(Pick::Text(text.to_owned()));
        let both = [(BACKEND, "gl,vk"), (ADAPTER_NAME, "llvm")];
        for (backend, adapter, variables, apis, pick, by) in [
            (None, None, &[][..], &[Api::Auto][..], None, ""),
            (
                None,
                None,
                &both,
                &[Api::Gl, Api::Vulkan],
                name("llvm"),
                "WGPU_BACKEND=gl,vk, WGPU_ADAPTER_NAME=llvm",
            ),
            (
                Some(Api::Metal),
                None,
                &both,
                &[Api::Metal],
                name("llvm"),
                "--backend metal, WGPU_ADAPTER_NAME=llvm",
            ),
            (Some(Api::Auto), None, &both[..1], &[Api::Auto], None, ""),
            (
                None,
                Some("x"),
                &both,
                &[Api::Gl, Api::Vulkan],
                text("x"),
                "WGPU_BACKEND=gl,vk, --adapter x",
            ),
            (
                None,
                Some("2"),
                &both[1..],
                &[Api::Auto],
                Some(Pick::Number(2)),
                "--adapter 2",
            ),
            (
                Some(Api::Cpu),
                None,
                &both,
                &[Api::Cpu],
                None,
                "--backend cpu",
            ),
            (
                None,
                None,
                &[(BACKEND, ""), (ADAPTER_NAME, "")],
                &[Api::Auto],
                None,
                "",
            ),
            // A name, whatever it looks like.
            (
                None,
                None,
                &[(ADAPTER_NAME, "2")],
                &[Api::Auto],
                name("2"),
                "WGPU_ADAPTER_NAME=2",
            ),
        ] {
            let expected = Asked {
                apis: apis.to_vec(),
                pick,
                by: by.to_owned(),
            };
            assert_eq!(asked(backend, adapter, variables), Ok(expected));
        }
        let message = asked(None, None, &[(BACKEND, "vulkan,fast")]).unwrap_err();
        assert!(
            message.starts_with("WGPU_BACKEND=vulkan,fast: 'fast' is no API"),
            "{message}"
        );
        assert!(asked(Some(Api::Vulkan), None, &[(BACKEND, "fast")]).is_ok());
        assert!(asked(Some(Api::Cpu), Some("x"), &[]).is_err());
    }
}
