//! The launches of a schedule: which kernel runs on which tensors with how many invocations.

use super::adapter::Needs;
use super::layout::{Layer, Layout, Slot, pitch};
use super::tuning::WORKGROUP;
use crate::backend::DeviceError;

use Size::{Batch, Embd, FanIn, Hidden, Vocab};

/// One launch of a kernel.
#[derive(Clone, Copy, Debug)]
pub struct Launch {
    /// Entry point in `shaders/staged/` or `shaders/chunked/`.
    pub kernel: &'static str,
    /// What the entry point uses: the name of a variable in its module, and the tensor bound to it. Every
    /// launch but the update also binds `shape`, the record of sizes.
    pub binds: &'static [(&'static str, Slot)],
    /// The layer whose `fan_in` and `fan_out` are in `shape`.
    pub layer: Layer,
    /// Its invocations.
    pub invocations: Invocations,
}

/// A launch, written as a line of a table.
pub const fn launch(
    kernel: &'static str,
    layer: Layer,
    invocations: Invocations,
    binds: &'static [(&'static str, Slot)],
) -> Launch {
    Launch {
        kernel,
        binds,
        layer,
        invocations,
    }
}

/// How the invocations of a launch are laid out. Where a sum is long and its results are few, a
/// workgroup cuts it into slices: see `Layout::slices`.
#[derive(Clone, Copy, Debug)]
pub enum Invocations {
    /// One invocation for each value of a tensor `(rows, cols)`, pads included.
    Elements(Size, Size),
    /// One invocation for each four values of a row.
    Vectors(Size, Size),
    /// One invocation for each row or column, which are as many as the size.
    Each(Size),
    /// `(rows, cols, terms)`: one invocation for each slice of each tile of 8 x 4 sums.
    Tiles(Size, Size, Size),
    /// `(fan_in, fan_out)`: one invocation for each slice of each tile of dW, and after them for those of
    /// dx.
    TwoGradients(Size, Size),
    /// `(rows, cols, terms)`: one invocation for each part of each tile.
    TilesInParts(Size, Size, Size),
    /// One invocation for each four values of a row of the sum of the parts.
    SumOfTiles(Size, Size, Size),
    /// `(fan_in, fan_out)`: one invocation for each part of each tile of dW, and after them for each part
    /// or each slice of each tile of dx.
    GradientsInParts(Size, Size, Dx),
    /// One invocation for each four values of the gradients of a layer.
    SumOfGradients(Size, Size),
    /// One invocation for each slice of each four columns of a tensor `(rows, cols)`, all of whose
    /// rows are summed.
    Columns(Size),
    /// One invocation for each slice of each row of a tensor `(rows, cols)`.
    Rows(Size),
    /// One invocation for each slice of each value of `dC`.
    Embeddings,
    /// One invocation for each four values of the parameters.
    Params,
}

/// How the sums of dx are cut by a launch that cuts those of dW into parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Dx {
    InSlices,
    InParts,
}

/// How the sums of a launch are cut: into slices, which a workgroup adds up, and into parts, which another
/// launch adds up. They are constants of its pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cut {
    /// Slices of a sum.
    pub slices: usize,
    /// Slices of a sum of dx, where a launch computes dW and dx.
    pub dx_slices: usize,
    /// Parts of a sum.
    pub parts: usize,
    /// Parts of a sum of dx.
    pub dx_parts: usize,
}

impl Cut {
    /// Whole sums.
    const NONE: Self = Self {
        slices: 1,
        dx_slices: 1,
        parts: 1,
        dx_parts: 1,
    };

    fn slices(slices: usize) -> Self {
        Self {
            slices,
            ..Self::NONE
        }
    }

    fn parts(parts: usize) -> Self {
        Self {
            parts,
            ..Self::NONE
        }
    }
}

/// A size that a layout refers to.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the fields of `Dims`
pub enum Size {
    /// Rows of the activations: contexts of a minibatch.
    Batch,
    Vocab,
    Embd,
    Hidden,
    FanIn,
}

/// Workgroups with an invocation for each of `values`, in two dimensions, since one holds 65,535.
/// `invocation_index` of shape.wgsl computes the index from both.
pub fn folded(values: usize) -> [u32; 3] {
    let groups = values.div_ceil(WORKGROUP);
    let x = groups.clamp(1, 32_768);
    [x as u32, groups.div_ceil(x) as u32, 1]
}

impl Layout {
    fn size(&self, size: Size, rows: usize) -> usize {
        match size {
            Batch => rows,
            Vocab => self.dims.vocab,
            Embd => self.dims.embd,
            Hidden => self.dims.hidden,
            FanIn => self.dims.fan_in(),
        }
    }

    /// Values of `dC`, pads included.
    fn embeddings(&self) -> usize {
        self.dims.vocab * pitch(self.dims.embd)
    }

    /// The constants of a pipeline whose sums are cut like this, by their names in the shaders.
    pub fn constants(&self, cut: Cut) -> [(&'static str, f64); 6] {
        [
            ("SLICES", cut.slices),
            ("DX_SLICES", cut.dx_slices),
            ("PARTS", cut.parts),
            ("DX_PARTS", cut.dx_parts),
            ("INVOCATIONS", self.cuts.adders),
            ("LANES", self.cuts.lanes),
        ]
        .map(|(name, value)| (name, value as f64))
    }

    /// How the sums of a launch over `rows` rows are cut.
    pub fn cut_of(&self, invocations: Invocations, rows: usize) -> Cut {
        let size = |s| self.size(s, rows);
        match invocations {
            Invocations::Elements(..)
            | Invocations::Vectors(..)
            | Invocations::Params
            | Invocations::Each(_) => Cut::NONE,
            Invocations::Tiles(rows, cols, terms) => {
                Cut::slices(self.tile_slices(size(rows), size(cols), size(terms)))
            }
            Invocations::TwoGradients(fan_in, fan_out) => {
                let (fan_in, fan_out) = (size(fan_in), size(fan_out));
                Cut {
                    slices: self.tile_slices(fan_in, fan_out, rows),
                    dx_slices: self.tile_slices(rows, fan_in, fan_out),
                    ..Cut::NONE
                }
            }
            Invocations::TilesInParts(rows, cols, terms)
            | Invocations::SumOfTiles(rows, cols, terms) => {
                Cut::parts(self.tile_parts(size(rows), size(cols), size(terms)))
            }
            Invocations::GradientsInParts(fan_in, fan_out, dx) => {
                let (fan_in, fan_out) = (size(fan_in), size(fan_out));
                let cut = Cut::parts(self.tile_parts(fan_in, fan_out, rows));
                match dx {
                    Dx::InSlices => Cut {
                        dx_slices: self.tile_slices(rows, fan_in, fan_out),
                        ..cut
                    },
                    Dx::InParts => Cut {
                        dx_parts: self.tile_parts(rows, fan_in, fan_out),
                        ..cut
                    },
                }
            }
            Invocations::SumOfGradients(fan_in, fan_out) => {
                Cut::parts(self.tile_parts(size(fan_in), size(fan_out), rows))
            }
            Invocations::Columns(cols) => {
                // At least four vectors side by side: one memory transaction.
                let (columns, most) = (size(cols).div_ceil(4), self.cuts.adders / 4);
                Cut::slices(self.slices(columns, rows.div_ceil(4), most))
            }
            Invocations::Rows(cols) => {
                let rounds = size(cols).div_ceil(4);
                Cut::slices(self.slices(rows, rounds, Self::MAX_SLICES))
            }
            Invocations::Embeddings => {
                // A frequent token has about a sixteenth of all uses. Even one that has them all must
                // stay far below 65,535 iterations, after which Mesa 22 leaves loops.
                let uses = rows * self.dims.block;
                let at_least = uses.div_ceil(1 << 14).next_power_of_two();
                let slices = self.slices(self.embeddings(), uses / 16, Self::MAX_SLICES);
                Cut::slices(slices.max(at_least))
            }
        }
    }

    /// Workgroups of a launch over `rows` rows whose sums are cut by `cut`.
    pub fn groups_of(&self, invocations: Invocations, rows: usize, cut: Cut) -> [u32; 3] {
        let size = |s| self.size(s, rows);
        let of = |invocations: usize, results: usize| {
            let groups = results.div_ceil(invocations / cut.slices);
            [groups as u32, 1, 1]
        };
        match invocations {
            Invocations::Elements(rows, cols) => folded(size(rows) * pitch(size(cols))),
            Invocations::Vectors(rows, cols) | Invocations::SumOfTiles(rows, cols, _) => {
                folded(size(rows) * size(cols).div_ceil(4))
            }
            Invocations::Params => folded(self.params / 4),
            Invocations::Each(count) => folded(size(count)),
            Invocations::Tiles(rows, cols, _) | Invocations::TilesInParts(rows, cols, _) => {
                let groups = tile_groups(size(rows), size(cols), cut.slices);
                [(cut.parts * groups) as u32, 1, 1]
            }
            Invocations::TwoGradients(fan_in, fan_out)
            | Invocations::GradientsInParts(fan_in, fan_out, _) => {
                let weight = tile_groups(size(fan_in), size(fan_out), cut.slices);
                let input = tile_groups(rows, size(fan_in), cut.dx_slices);
                [(cut.parts * weight + cut.dx_parts * input) as u32, 1, 1]
            }
            Invocations::SumOfGradients(fan_in, fan_out) => {
                let weight = pitch(size(fan_in)) * pitch(size(fan_out));
                let values = weight.next_multiple_of(Self::ALIGN) + pitch(size(fan_out));
                folded(values / 4)
            }
            Invocations::Columns(cols) => of(self.cuts.adders, size(cols).div_ceil(4)),
            Invocations::Rows(_) => of(WORKGROUP, rows),
            Invocations::Embeddings => of(WORKGROUP, self.embeddings()),
        }
    }

    /// Whether the adapter can hold this model and run these tables.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Limit`], with the first limit that is too low.
    pub fn check(
        &self,
        tables: &[&[Launch]],
        limits: &wgpu::Limits,
        adapter: &str,
    ) -> Result<(), DeviceError> {
        let launches = || tables.iter().copied().flatten();
        let buffer = |&(_, slot): &(&str, Slot)| 4 * self.len(self.place(slot).0) as u64;
        let largest = launches().flat_map(|launch| launch.binds).map(buffer).max();
        // An evaluation has rows enough for 4 MiB of activations, or as many as a step.
        let rows = self.dims.batch;
        let workgroups = launches().flat_map(|launch| {
            let cut = self.cut_of(launch.invocations, rows);
            self.groups_of(launch.invocations, rows, cut)
        });
        let needs = Needs {
            storage_buffers: launches().map(|l| l.binds.len()).max().unwrap_or(0),
            invocations: WORKGROUP.max(self.cuts.adders),
            workgroups: workgroups.max().unwrap_or(0).into(),
            largest: largest.unwrap_or(0),
        };
        needs.check(limits, adapter)
    }
}

/// Workgroups for tiles of 8 x 4 sums, as shaders/staged/linear.wgsl arranges them.
fn tile_groups(rows: usize, cols: usize, slices: usize) -> usize {
    let (high, wide) = (rows.div_ceil(8), cols.div_ceil(4));
    let tiles = WORKGROUP / slices;
    let tiles_wide = tiles.min(if wide <= 8 { 8 } else { 16 });
    wide.div_ceil(tiles_wide) * high.div_ceil(tiles / tiles_wide)
}
