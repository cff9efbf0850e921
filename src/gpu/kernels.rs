//! The kernels that train and that are checked: the program's own, or with other text in some of their files.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::adapter::Found;
use super::device::Gpu;
use super::shader::{
    Module, Part, Source, chunked_modules, extras_modules, files, resident_module,
    shared_linear_module, staged_modules_of,
};
use super::tuning::{Sharing, WorkSplit};
use crate::backend::{DeviceError, ShaderError};
use crate::model::dims::Dims;
use crate::text::hex;

/// The kernels that train and that are checked. By default they are the program's own; [`Kernels::with_file`]
/// puts other text into a file. A clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct Kernels {
    /// The files whose text is not the program's own.
    changed: Arc<BTreeMap<&'static str, String>>,
    /// The only form of the resident kernel that counts: that of an adapter, if it is known.
    subgroup: Option<bool>,
}

/// What the records of a training say of kernels that are not the program's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// The files whose text is another, as paths under `shaders/`.
    pub files: Vec<String>,
    /// A checksum of their names and texts.
    pub sha256: String,
}

impl Kernels {
    /// Those of an adapter: without the form of the resident kernel that does not run there.
    pub fn of(found: &Found) -> Self {
        Self {
            subgroup: Some(in_subgroups(found)),
            ..Self::default()
        }
    }

    /// The kernels with other text in one file; `None` if none of them is made of it.
    pub fn with_file(mut self, file: &str, text: &str) -> Option<Self> {
        let own = self
            .own_files()
            .into_iter()
            .find(|part| part.file == file)?;
        let changed = Arc::make_mut(&mut self.changed);
        // The next file of a module begins on a line of its own: a last line break more or less is no change.
        match own.text.trim_end_matches('\n') == text.trim_end_matches('\n') {
            true => changed.remove(own.file),
            false => changed.insert(own.file, text.to_owned()),
        };
        Some(self)
    }

    /// The kernels with `from` replaced by `to` in one file; `None` unless `from` occurs there exactly once.
    pub fn replaced(self, file: &str, from: &str, to: &str) -> Option<Self> {
        let part = self.files().into_iter().find(|part| part.file == file)?;
        match part.text.matches(from).count() {
            1 => self.with_file(file, &part.text.replace(from, to)),
            _ => None,
        }
    }

    /// All their files, each once, with the text that they have here.
    pub fn files(&self) -> Vec<Part> {
        let mut files = self.own_files();
        for part in &mut files {
            if let Some(text) = self.changed.get(part.file) {
                part.text = text.clone().into();
            }
        }
        files
    }

    /// The files, as they are in the program.
    fn own_files(&self) -> Vec<Part> {
        let mut files = files();
        for module in extras_modules() {
            for part in module.source.parts() {
                if files.iter().all(|known| known.file != part.file) {
                    files.push(part.clone());
                }
            }
        }
        if self.subgroup == Some(false) {
            files.retain(|part| part.file != "staged/through_subgroup.wgsl");
        }
        if let Some(subgroup) = self.subgroup {
            let other = resident_module(!subgroup).source;
            let here = resident_module(subgroup).source;
            let is_of = |source: &Source, file| source.parts().iter().any(|part| part.file == file);
            files.retain(|part| {
                let resident = part.file.starts_with("resident/");
                !(resident && is_of(&other, part.file) && !is_of(&here, part.file))
            });
        }
        files
    }

    /// The files whose text is not the program's own, in the order of their names.
    pub fn changed(&self) -> impl Iterator<Item = &'static str> {
        self.changed.keys().copied()
    }

    /// Whether any text is not the program's own.
    pub fn are_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What records say of them; nothing, if they are the program's own.
    pub fn record(&self) -> Option<Changed> {
        let mut digest = Sha256::new();
        for (file, text) in &*self.changed {
            for part in [file, text.as_str()] {
                digest.update((part.len() as u64).to_le_bytes());
                digest.update(part);
            }
        }
        self.are_changed().then(|| Changed {
            files: self.changed.keys().map(|&file| file.to_owned()).collect(),
            sha256: hex(&digest.finalize()),
        })
    }

    /// The modules of the staged schedule whose products come by their rows like this.
    pub fn staged(&self, sharing: Sharing) -> Vec<Module> {
        self.applied(staged_modules_of(sharing))
    }

    /// The modules of the chunked pass, which include those of the staged schedule.
    pub fn chunked(&self) -> Vec<Module> {
        self.applied(chunked_modules())
    }

    /// The module of the resident schedule, for a workgroup or for a subgroup.
    pub fn resident(&self, subgroup: bool) -> Module {
        self.apply(resident_module(subgroup))
    }

    /// The modules of `gradcheck --exercise extras`.
    pub fn extras(&self) -> Vec<Module> {
        self.applied(extras_modules())
    }

    /// Every module that can run on an adapter.
    fn all(&self, found: &Found) -> Vec<Module> {
        let mut modules = self.chunked();
        let shared = [false, true]
            .into_iter()
            .take(1 + usize::from(in_subgroups(found)));
        modules.extend(shared.map(|subgroup| self.apply(shared_linear_module(subgroup))));
        modules.push(self.resident(in_subgroups(found)));
        modules.extend(self.extras());
        modules
    }

    fn applied(&self, modules: Vec<Module>) -> Vec<Module> {
        modules.into_iter().map(|own| self.apply(own)).collect()
    }

    /// A module of the program with the texts that its files have here.
    fn apply(&self, mut module: Module) -> Module {
        for (file, text) in &*self.changed {
            if let Some(source) = module.source.with_file(file, text) {
                module.source = source;
            }
        }
        module
    }

    /// Has the compiler of an adapter read every module that can run there, except those that `left_out` names
    /// by their file.
    ///
    /// # Errors
    ///
    /// The first mistake, or the adapter cannot be opened.
    pub async fn check(
        &self,
        found: &Found,
        left_out: impl Fn(&str) -> bool,
    ) -> Result<(), DeviceError> {
        let gpu = Gpu::open(found).await?;
        let mut modules = self.all(found);
        modules.retain(|module| !left_out(module.source.name()));
        gpu.modules(&modules).await.map(|_| ())
    }

    /// What the compiler of an adapter finds in the kernels that are made of a file: the first mistake of
    /// each module, each once.
    ///
    /// # Errors
    ///
    /// The adapter cannot be opened.
    pub async fn errors(&self, found: &Found, file: &str) -> Result<Vec<ShaderError>, DeviceError> {
        let gpu = Gpu::open(found).await?;
        let mut errors = Vec::new();
        for module in self.all(found) {
            if module.source.parts().iter().all(|part| part.file != file) {
                continue;
            }
            match gpu.module(&module).await {
                Err(DeviceError::Shader(error)) if !errors.contains(&error) => errors.push(error),
                Ok(_) | Err(DeviceError::Shader(_)) => {}
                Err(other) => return Err(other),
            }
        }
        Ok(errors)
    }
}

/// Whether the resident kernel works in subgroups on an adapter, which does not depend on the sizes.
fn in_subgroups(found: &Found) -> bool {
    WorkSplit::of(found, &Dims::LECTURE).in_subgroups()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_in_every_module_that_is_made_of_it() {
        let own = Kernels::default();
        let text = "// other\nfn f() {}";
        let kernels = own.clone().with_file("tanh.wgsl", text).unwrap();
        assert!(!own.are_changed() && own.record().is_none());
        assert_eq!(kernels.changed().collect::<Vec<_>>(), ["tanh.wgsl"]);
        let mut modules = kernels.chunked();
        modules.extend([Sharing::Workgroup, Sharing::Subgroup].map(|sharing| {
            let shared = kernels.staged(sharing).into_iter();
            let mut shared =
                shared.filter(|module| module.source.name() == "staged/shared_linear.wgsl");
            shared.next().unwrap()
        }));
        modules.extend([false, true].map(|subgroup| kernels.resident(subgroup)));
        let mut seen = 0;
        for part in modules.iter().flat_map(|module| module.source.parts()) {
            let is_changed = part.text == format!("{text}\n");
            assert_eq!(is_changed, part.file == "tanh.wgsl", "{}", part.file);
            seen += usize::from(is_changed);
        }
        assert_eq!(seen, 7); // three forms of linear, batch norm, tanh by itself, and two forms of the resident kernel
        assert!(own.clone().with_file("tanh.wgs", "").is_none());
    }

    #[test]
    fn the_programs_own_text_is_no_change() {
        let mut kernels = Kernels::default();
        for part in kernels.files() {
            kernels = kernels.with_file(part.file, part.text.trim_end()).unwrap();
        }
        assert!(!kernels.are_changed());
        let changed = kernels.with_file("sgd.wgsl", "x").unwrap();
        let first = changed.record().unwrap();
        let own = Kernels::default().files();
        let own = own.iter().find(|part| part.file == "sgd.wgsl").unwrap();
        let other = changed.clone().with_file("sgd.wgsl", "y").unwrap();
        assert_eq!(first.files, ["sgd.wgsl"]);
        assert_ne!(other.record().unwrap().sha256, first.sha256);
        assert!(
            !changed
                .with_file("sgd.wgsl", &own.text)
                .unwrap()
                .are_changed()
        );
    }

    #[test]
    fn of_an_adapter_only_one_form_of_the_resident_kernel_counts() {
        let kernels = Kernels {
            subgroup: Some(false),
            ..Kernels::default()
        };
        let with = |file: &str| kernels.clone().with_file(file, "x").is_some();
        assert!(with("resident/workgroup.wgsl") && with("resident/train.wgsl"));
        assert!(with("staged/linear.wgsl") && with("extras/repeat_kv.wgsl"));
        assert!(!with("resident/subgroup.wgsl") && !with("staged/through_subgroup.wgsl"));
        let all = Kernels::default().files().len();
        assert_eq!(kernels.files().len(), all - 2);
    }

    #[test]
    fn a_replacement_finds_its_text_exactly_once() {
        let kernels = Kernels::default();
        let replaced = |from, to| kernels.clone().replaced("tanh.wgsl", from, to);
        assert!(
            replaced("(1.0 - h * h)", "(1.0 - h)")
                .unwrap()
                .are_changed()
        );
        assert!(replaced("not there", "").is_none() && replaced("e", "f").is_none());
    }
}
