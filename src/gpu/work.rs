//! The work of a launch of a training step: floating-point operations, and the least number of bytes that
//! cross the memory bus.

use super::launch::Launch;
use super::layout::{Layer, Layout, Slot};
use crate::backend::profile::{Kernel, Work};
use crate::model::dims::Dims;

/// The work of one launch of a training step that has `rows` rows.
pub fn work_of(launch: &Launch, layout: &Layout, rows: usize) -> Work {
    Work {
        flops: flops_of(launch, layout, rows),
        bytes: Some(bytes_of(launch, layout, rows)),
    }
}

/// Every `+ - * /`, `max`, `exp` counts as one operation, as the kernel does it for each element of
/// a tensor. What it does once for a row, a column or a target (a mean, a logarithm, an inverse root) is not
/// counted.
fn flops_of(launch: &Launch, layout: &Layout, rows: usize) -> Option<f64> {
    let dims = &layout.dims;
    let (fan_in, fan_out) = match launch.layer {
        Layer::First => (dims.fan_in(), dims.hidden),
        Layer::Second => (dims.hidden, dims.vocab),
    };
    // A sum of `fan_in` products, which begins with the bias: as many multiplications as additions.
    let product = 2 * rows * fan_in * fan_out;
    let flops = match launch.kernel {
        "linear_forward_kernel" => product,
        // dW and dx are a product each; db adds dy up.
        "linear_backward_kernel" => 2 * product + rows * fan_out,
        // And 3 for tanh_backward.
        "linear_tanh_backward_kernel" => 2 * product + rows * fan_out + 3 * rows * fan_in,
        // 2 for the mean, 4 for the variance, 2 to normalize, 2 to scale, 23 for tanh_forward.
        "batchnorm_tanh_forward_kernel" => (2 + 4 + 2 + 2 + 23) * rows * dims.hidden,
        // 3 for the two sums, 8 for dhprebn.
        "batchnorm_backward_kernel" => (3 + 8) * rows * dims.hidden,
        // 1 for the maximum, 2 for counts and 2 when they are made again, 1 for their sum, 1 for
        // probs, 3 for dlogits.
        "softmax_cross_entropy_kernel" => (1 + 2 + 2 + 1 + 1 + 3) * rows * dims.vocab,
        // One addition for each value of each part but the first.
        "linear_forward_sum_kernel" => {
            let parts = layout.cut_of(launch.invocations, dims.batch).parts;
            (parts - 1) * rows * fan_out
        }
        "linear_backward_input_sum_kernel" => {
            let parts = layout.cut_of(launch.invocations, dims.batch).parts;
            (parts - 1) * rows * fan_in
        }
        "linear_backward_weight_sum_kernel" => {
            let parts = layout.cut_of(launch.invocations, dims.batch).parts;
            (parts - 1) * (fan_in + 1) * fan_out
        }
        // The gradient of each used embedding is added to that of its token.
        "embedding_backward_kernel" => rows * dims.fan_in(),
        // p - lr * grad
        "sgd_kernel" => 2 * dims.parameter_count(),
        _ => return None, // embedding_forward_kernel copies
    };
    Some(flops as f64)
}

/// Each bound tensor once and without padding: the traffic of a launch that finds every value in a cache from
/// its second use on. A kernel that is near the bandwidth of its device by this count is limited by it.
fn bytes_of(launch: &Launch, layout: &Layout, rows: usize) -> f64 {
    // The tensors have room for an evaluation batch, and lists for many steps.
    let step = Layout {
        rows,
        ..layout.clone()
    };
    let Dims { vocab, block, .. } = layout.dims;
    let values = |slot: Slot| match slot {
        Slot::X => (rows * block).div_ceil(4),
        Slot::Uses => vocab + 1 + rows * block,
        Slot::Lr => 1,
        Slot::Losses => rows,
        // At most: a target that comes twice after a context is listed once.
        Slot::Targets => rows + 1 + layout.dims.batch,
        Slot::Params => 2 * layout.dims.parameter_count(), // read and written
        Slot::Grads => layout.dims.parameter_count(),
        // Of the three rows, the backward pass reads bnvar_inv.
        Slot::Bnstats if launch.kernel == "batchnorm_backward_kernel" => layout.dims.hidden,
        _ => {
            let (rows, cols) = step.extent(slot);
            rows * cols
        }
    };
    let values: usize = launch.binds.iter().map(|&(_, slot)| values(slot)).sum();
    (size_of::<f32>() * values) as f64
}

/// The kernels of a table, in its order.
pub fn kernels_of(table: &[Launch], layout: &Layout) -> Vec<Kernel> {
    let kernel = |launch: &Launch| {
        let twice = table.iter().filter(|l| l.kernel == launch.kernel).count() > 1;
        let weight = match launch.layer {
            Layer::First => "W1",
            Layer::Second => "W2",
        };
        let work = work_of(launch, layout, layout.dims.batch);
        Kernel::new(launch.kernel, twice.then_some(weight), work)
    };
    table.iter().map(kernel).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::staged::STEP;
    use crate::gpu::tuning::Cuts;

    /// By hand, for sizes of which no two are the same: kernel, operations, values moved.
    #[test]
    fn the_work_of_each_launch_is_counted() {
        let dims = Dims {
            vocab: 5,
            block: 2,
            embd: 3,
            hidden: 7,
            batch: 9,
        };
        // Each row's context in 18 bytes, 5 words; targets: 9 + 1 + 9 words; uses: 5 + 1 + 18.
        let params = 15 + 6 * 7 + 7 + 7 * 5 + 5 + 7 + 7;
        let want = [
            ("embedding_forward_kernel", 0, 2 + 5 + 15 + 54 + 19 + 9),
            ("linear_forward_kernel", 2 * 9 * 6 * 7, 54 + 42 + 7 + 63),
            (
                "batchnorm_tanh_forward_kernel",
                33 * 63,
                63 + 7 + 7 + 21 + 63 + 63 + 9,
            ),
            ("linear_forward_kernel", 2 * 9 * 7 * 5, 63 + 35 + 5 + 45),
            (
                "softmax_cross_entropy_kernel",
                10 * 45,
                2 + 19 + 45 + 9 + 45,
            ),
            (
                "linear_tanh_backward_kernel",
                4 * 9 * 7 * 5 + 45 + 3 * 63,
                63 + 35 + 45 + 63 + 35 + 5,
            ),
            (
                "batchnorm_backward_kernel",
                11 * 63,
                7 + 7 + 63 + 63 + 7 + 7 + 63 + 9,
            ),
            (
                "linear_backward_kernel",
                4 * 9 * 6 * 7 + 63,
                54 + 42 + 63 + 54 + 42 + 7,
            ),
            ("embedding_backward_kernel", 54, 2 + 24 + 54 + 15),
            ("sgd_kernel", 2 * params, 2 + 1 + 3 * params),
        ];
        for cuts in [Cuts::hardware(&dims), Cuts::WHOLE] {
            let kernels = kernels_of(&STEP, &Layout::new(dims, cuts));
            assert_eq!(kernels.len(), want.len());
            for (kernel, (name, flops, values)) in kernels.iter().zip(want) {
                let flops = (flops > 0).then_some(f64::from(flops));
                let bytes = Some(4.0 * f64::from(values));
                assert_eq!(kernel.name, name);
                assert_eq!(kernel.per_step, Work { flops, bytes }, "{name}");
            }
        }
    }

    #[test]
    fn the_two_linear_layers_can_be_told_apart() {
        let kernels = kernels_of(&STEP, &Layout::new(Dims::LECTURE, Cuts::WHOLE));
        let names = |weight| -> Vec<&str> {
            let of_weight = kernels.iter().filter(|k| k.weight == weight);
            of_weight.map(|k| k.name).collect()
        };
        for weight in ["W1", "W2"] {
            assert_eq!(names(Some(weight)), ["linear_forward_kernel"]);
        }
        assert_eq!(names(None).len(), 8);
    }
}
