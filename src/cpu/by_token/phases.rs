//! The phases of a panel, each compiled once per kind of machine and called through a function pointer.
//!
//! A step on one core and a step on several share them. (With a copy for each caller, the library took two
//! minutes to compile instead of one.) The work of a panel hides the cost of a call.
//!
//! # The const generics
//!
//! All functions of this folder that compute with vectors have some of these. They make array lengths and
//! branches constant, so that the compiler keeps a tile of sums in vector registers.
//!
//! | name | meaning | values |
//! |---|---|---|
//! | `FMA` | multiply and add in one instruction, which rounds once | if the machine has it |
//! | `ROWS` | rows of a tile, at most | 8 with AVX-512, else 4 |
//! | `COLS` | values of one array of sums: the columns of a part of a tile | 16 with FMA, else 8 |
//! | `PARTS` | parts of a row of a tile, each with `COLS` columns | 2 with AVX-512, else 1 |
//! | `HALVES` | halves of its lines that a panel fills | 1 up to 16 units, else 2 |
//! | `GRADS` | whether gradients that are used up in registers are also stored | only for `gradcheck` |
//!
//! The first four come as a [`Tile`], chosen for the machine by `match_target!`. `HALVES` is chosen here for
//! each panel, together with a tile that is no wider than its units, and `GRADS` by the caller. Where
//! `by_rows!` handles a tile of fewer rows, a `ROWS` of its own hides the outer one.

use multiversion::multiversion;
use multiversion::target::match_target;

use super::lines::{LANES, Line, Transpose};
use super::panel::{Panel, Step};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use crate::reference::linear::{FUSED_4X16, FUSED_8X32};
use crate::reference::linear::{PLAIN, Tile};
use crate::reference::real::Real;

/// A phase; one for a block of contexts; and one that also reads the block's `dlogits`.
type Phase<R> = fn(&mut Panel<R>, &Step<'_, R>);
type PhaseOfBlock<R> = fn(&mut Panel<R>, &Step<'_, R>, usize);
type PhaseOfLogits<R> = fn(&mut Panel<R>, &Step<'_, R>, &[Line<R>], usize);

/// The methods of [`Panel`] of these names.
#[derive(Clone, Copy)]
pub struct Phases<R> {
    pub statistics: Phase<R>,
    pub activate: PhaseOfBlock<R>,
    pub through_second_layer: PhaseOfLogits<R>,
    pub after_blocks: Phase<R>,
    pub update: Phase<R>,
}

impl<R: Real + Transpose> Phases<R> {
    /// The phases for given tiles and `GRADS`, compiled for the target features of the caller.
    pub fn of<
        const FMA: bool,
        const ROWS: usize,
        const COLS: usize,
        const PARTS: usize,
        const GRADS: bool,
    >(
        _: Tile<FMA, ROWS, COLS, PARTS>,
    ) -> Self {
        macro_rules! phase {
            ($name:ident($($arg:ident),*)) => {
                |panel, step, $($arg),*| {
                    let tile: Tile<FMA, ROWS, COLS, PARTS> = Tile;
                    $name::<R, FMA, ROWS, COLS, PARTS, GRADS>(tile, panel, step, $($arg),*)
                }
            };
        }
        Self {
            statistics: phase!(statistics()),
            activate: phase!(activate(block)),
            through_second_layer: phase!(through_second_layer(dlogits, block)),
            after_blocks: phase!(after_blocks()),
            update: phase!(update()),
        }
    }
}

/// The phases for this machine, without `GRADS`.
pub const NATIVE: Phases<f32> = Phases {
    statistics: native::statistics,
    activate: native::activate,
    through_second_layer: native::through_second_layer,
    after_blocks: native::after_blocks,
    update: native::update,
};

/// Each phase for any panel, with tiles that are no wider than its units; and in `native` each phase compiled
/// for several sets of target features, one of which is chosen at run time.
macro_rules! phases {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {
        $(
            #[inline(always)]
            fn $name<
                R: Real + Transpose,
                const FMA: bool,
                const ROWS: usize,
                const COLS: usize,
                const PARTS: usize,
                const GRADS: bool,
            >(
                _: Tile<FMA, ROWS, COLS, PARTS>,
                panel: &mut Panel<R>,
                step: &Step<'_, R>,
                $($arg: $type),*
            ) {
                if panel.units > LANES {
                    panel.$name::<FMA, ROWS, COLS, PARTS, 2, GRADS>(step, $($arg),*);
                } else {
                    panel.$name::<FMA, ROWS, COLS, 1, 1, GRADS>(step, $($arg),*);
                }
            }
        )*

        mod native {
            use super::*;

            type R = f32;

            $(
                #[multiversion(targets(
                    "x86_64+avx512f+avx512vl+avx512bw+avx512dq+avx2+fma",
                    "x86_64+avx2+fma",
                    "aarch64+neon"
                ))]
                pub fn $name(panel: &mut Panel<R>, step: &Step<'_, R>, $($arg: $type),*) {
                    match_target! {
                        "x86_64+avx512f" => { super::$name::<R, _, _, _, _, false>(FUSED_8X32, panel, step, $($arg),*) },
                        "x86_64+avx2+fma" => { super::$name::<R, _, _, _, _, false>(FUSED_4X16, panel, step, $($arg),*) },
                        "aarch64+neon" => { super::$name::<R, _, _, _, _, false>(FUSED_4X16, panel, step, $($arg),*) },
                        _ => { super::$name::<R, _, _, _, _, false>(PLAIN, panel, step, $($arg),*) },
                    }
                }
            )*
        }
    };
}

phases! {
    statistics();
    activate(block: usize);
    through_second_layer(dlogits: &[Line<R>], block: usize);
    after_blocks();
    update();
}
