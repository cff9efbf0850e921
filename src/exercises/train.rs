//! The lecture's exercise 4: the learner's own gradients train the model.

use std::rc::Rc;

use wgpu::Buffer;

use super::check::launch;
use super::device::{Device, module};
use super::list::{Asked, EXERCISES, Exercise};
use super::task::Task;
use crate::backend::DeviceError;
use crate::data::DataError;
use crate::gpu::executor::to_f32;
use crate::gpu::single::Single;
use crate::interpreter::{Buffers, Kernel};
use crate::model::dims::{Dims, Token};
use crate::model::params::{Params, Tensor};
use crate::model::steps::Steps;
use crate::model::tensors::LectureTensor;
use crate::reference::Model;
use crate::reference::chunked::{chunk_of, pass};
use crate::reference::sgd;

/// Why the gradients cannot train.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The text does not compile.
    #[error("{exercise}: {message}")]
    Refused {
        /// The exercise.
        exercise: &'static str,
        /// The compiler's words.
        message: String,
    },
    /// A function stopped on the way.
    #[error("{exercise}, in step {step}: {message}")]
    Failed {
        /// The exercise.
        exercise: &'static str,
        /// The step.
        step: u64,
        /// What happened.
        message: String,
    },
    /// A loss is no number any more.
    #[error("the loss of step {step} is {loss}")]
    Diverged {
        /// The step.
        step: u64,
        /// Its loss.
        loss: f32,
    },
    /// The names cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The device failed.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

/// A model whose gradients are a learner's functions, each computed from those before it.
pub struct OwnGradients {
    model: Model<f32>,
    step: u64,
    place: Place,
    by: By,
}

/// What runs the functions.
enum By {
    Interpreter(Vec<Interpreted>),
    Device(Rc<Device>, Box<OnDevice>),
}

/// A function in the interpreter.
struct Interpreted {
    exercise: &'static Exercise,
    tensor: LectureTensor,
    task: Task,
    kernel: Kernel,
}

/// The functions on a device. They share what they are given: each gradient is copied there when it is
/// computed.
struct OnDevice {
    given: Buffer,
    tokens: Buffer,
    kernels: Vec<(LectureTensor, Single, Task, Buffer)>,
}

/// The exercises that are gradients, in the order of the backward pass.
fn gradients() -> impl Iterator<Item = (&'static Exercise, LectureTensor)> {
    EXERCISES
        .iter()
        .filter_map(|exercise| match exercise.asked {
            Asked::Gradient(tensor) => Some((exercise, tensor)),
            _ => None,
        })
}

/// Where a tensor's values and its gradient lie among the floats that functions are given.
struct Place {
    values: [usize; 26],
    grads: [usize; 26],
    all: usize,
}

impl Place {
    fn new(dims: &Dims) -> Self {
        let mut at = 0;
        let mut place = |tensor: LectureTensor| {
            at += tensor.len(dims);
            at - tensor.len(dims)
        };
        let mut values = [0; 26];
        for tensor in LectureTensor::ALL {
            values[tensor as usize] = place(tensor);
        }
        let mut grads = [0; 26];
        for (_, tensor) in gradients() {
            grads[tensor as usize] = place(tensor);
        }
        Self {
            values,
            grads,
            all: at,
        }
    }
}

impl OwnGradients {
    /// The exercises whose texts are needed, in their order.
    pub fn exercises() -> Vec<&'static Exercise> {
        gradients().map(|(exercise, _)| exercise).collect()
    }

    /// A model of the lecture's sizes with `texts`, one for each of [`OwnGradients::exercises`]. Without a
    /// device the interpreter runs them.
    ///
    /// # Errors
    ///
    /// A text does not compile, or the device failed.
    pub async fn new(
        params: Params<f32>,
        texts: &[String],
        device: Option<Rc<Device>>,
    ) -> Result<Self, TrainError> {
        let dims = Dims::LECTURE;
        let texts = || gradients().zip(texts);
        let by = match device {
            None => {
                let mut all = Vec::new();
                for ((exercise, tensor), text) in texts() {
                    let task = Task::of(exercise);
                    let kernel = Kernel::new(&task.module(text), task.entry[0], &[]);
                    let kernel = kernel.map_err(|refused| TrainError::Refused {
                        exercise: exercise.name,
                        message: refused.message,
                    })?;
                    all.push(Interpreted {
                        exercise,
                        tensor,
                        task,
                        kernel,
                    });
                }
                By::Interpreter(all)
            }
            Some(device) => {
                let given = device.upload(0, &vec![0; Place::new(&dims).all]);
                let tokens = device.upload(1, &vec![0; dims.batch * (1 + dims.block)]);
                let mut kernels = Vec::new();
                for ((exercise, tensor), text) in texts() {
                    let task = Task::of(exercise);
                    let result = device.upload(2, &task.buffers[2]);
                    let report = device.upload(3, &task.buffers[3]);
                    let bound = [
                        (&given, false),
                        (&tokens, false),
                        (&result, true),
                        (&report, true),
                    ];
                    let module = module(exercise, &task, text);
                    let single = Single::new(&device.gpu, &module, &bound).await?;
                    kernels.push((tensor, single, task, result));
                }
                let all = OnDevice {
                    given,
                    tokens,
                    kernels,
                };
                By::Device(device, Box::new(all))
            }
        };
        Ok(Self {
            model: Model::new(dims, params),
            step: 0,
            place: Place::new(&dims),
            by,
        })
    }

    /// Does one step, and gives its loss.
    ///
    /// # Errors
    ///
    /// A function stopped on the way, the device failed, or the training diverged.
    pub async fn train(&mut self, step: &Steps) -> Result<f32, TrainError> {
        let (x, y, lr) = step.step(0);
        let loss = self.one(x, y, lr).await?;
        if !loss.is_finite() {
            let step = self.step;
            return Err(TrainError::Diverged { step, loss });
        }
        self.step += 1;
        Ok(loss)
    }

    async fn one(&mut self, x: &[Token], y: &[Token], lr: f32) -> Result<f32, TrainError> {
        let dims = self.model.dims;
        // The forward pass is the twin's; its gradients are not used.
        let (values, _) = pass(&mut self.model, x, y);
        let rows = values[LectureTensor::Logprobs].chunks_exact(dims.vocab);
        let sum: f32 = rows.zip(y).map(|(row, &y)| row[usize::from(y)]).sum();
        let loss = -sum / dims.batch as f32;
        let place = &self.place;
        let mut given = vec![0.0; place.all];
        for tensor in LectureTensor::ALL {
            let at = place.values[tensor as usize];
            given[at..at + tensor.len(&dims)].copy_from_slice(&values[tensor]);
        }
        let tokens: Vec<u32> = y.iter().chain(x).map(|&t| u32::from(t)).collect();
        match &self.by {
            By::Interpreter(all) => {
                for Interpreted {
                    exercise,
                    tensor,
                    task,
                    kernel,
                } in all
                {
                    let bits = given.iter().map(|v: &f32| v.to_bits()).collect();
                    let [result, report] = [2, 3].map(|binding| task.buffers[binding].clone());
                    let all = [bits, tokens.clone(), result, report];
                    let mut buffers: Buffers = (0..).zip(all).collect();
                    launch(kernel, task, &mut buffers).map_err(|(_, message)| {
                        TrainError::Failed {
                            exercise: exercise.name,
                            step: self.step,
                            message,
                        }
                    })?;
                    let grad = buffers.remove(&2).unwrap_or_default();
                    let at = place.grads[*tensor as usize];
                    for (to, bits) in given[at..].iter_mut().zip(grad) {
                        *to = f32::from_bits(bits);
                    }
                }
            }
            By::Device(device, all) => {
                let OnDevice {
                    given: buffer,
                    tokens: integers,
                    kernels,
                } = &**all;
                let gpu = &device.gpu;
                let values = &given[..place.grads[LectureTensor::Logprobs as usize]];
                gpu.queue
                    .write_buffer(buffer, 0, bytemuck::cast_slice(values));
                gpu.queue
                    .write_buffer(integers, 0, bytemuck::cast_slice(&tokens));
                let mut encoder = gpu.device.create_command_encoder(&Default::default());
                for (tensor, single, task, result) in kernels {
                    single.encode(&mut encoder, task.groups, 1);
                    let at = 4 * place.grads[*tensor as usize] as u64;
                    let bytes = 4 * tensor.len(&dims) as u64;
                    encoder.copy_buffer_to_buffer(result, 0, buffer, at, bytes);
                }
                let bytes = 4 * place.all as u64;
                let read = gpu.finish_and_read(encoder, &[(buffer, 0, bytes)]).await?;
                given = to_f32(&read[0]);
            }
        }
        for tensor in Tensor::ALL {
            let (place, len) = (place.grads[chunk_of(tensor) as usize], tensor.len(&dims));
            let grad = &given[place..place + len];
            sgd::update::<f32, false>(self.model.params.get_mut(tensor), lr, grad);
        }
        Ok(loss)
    }
}
