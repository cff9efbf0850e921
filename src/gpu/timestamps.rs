//! `train --profile`: the time of each kernel, by the device's own clock where it has one.
//!
//! A device with timestamps records its clock before and after each pass, so each launch gets a pass of its
//! own. For a device without them, the host times whole submissions. Only training steps are measured.

use std::time::Duration;

use wgpu::{
    Buffer, BufferDescriptor, BufferUsages, CommandEncoder, ComputePassDescriptor,
    ComputePassTimestampWrites, Features, QuerySet, QuerySetDescriptor, QueryType,
};

use super::device::Gpu;
use super::submission::Done;
use crate::backend::profile::{Kernel, Profile, Work};
use crate::clock::Instant;

/// The device's clock, and room for the times of the passes of a submission.
struct Clock {
    queries: QuerySet,
    resolved: Buffer,
    /// Seconds.
    tick: f64,
}

/// Measures the passes of a schedule.
pub struct Profiler {
    clock: Option<Clock>,
    profile: Profile,
    /// The end of the previous submission.
    until: Option<Instant>,
}

/// How long the device worked on a submission. If it was submitted before the previous one ended, at `until`,
/// its time begins then.
fn time_at_work(until: Option<Instant>, submitted: Instant, ended: Instant) -> Duration {
    let began = until.map_or(submitted, |until| until.max(submitted));
    ended.saturating_duration_since(began)
}

impl Profiler {
    /// Passes of a submission at most: each has two timestamps.
    pub const MAX_PASSES: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

    /// A profiler for kernels that are to be run on a device.
    pub fn new(gpu: &Gpu, kernels: Vec<Kernel>) -> Self {
        let tick = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
        let there = gpu.device.features().contains(Features::TIMESTAMP_QUERY);
        // A driver that reports a period of zero has no usable clock.
        let clock = (there && tick > 0.0).then(|| Clock {
            queries: gpu.device.create_query_set(&QuerySetDescriptor {
                label: Some("timestamps"),
                ty: QueryType::Timestamp,
                count: wgpu::QUERY_SET_MAX_QUERIES,
            }),
            resolved: gpu.device.create_buffer(&BufferDescriptor {
                label: Some("timestamps"),
                size: u64::from(wgpu::QUERY_SET_MAX_QUERIES * wgpu::QUERY_SIZE),
                usage: BufferUsages::QUERY_RESOLVE | BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            tick,
        });
        Self {
            profile: Profile::new(clock.as_ref().map(|c| c.tick), kernels),
            clock,
            until: None,
        }
    }

    /// What has been measured.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Whether each launch has a pass of its own, which only serves timestamps.
    pub fn times_passes(&self) -> bool {
        self.clock.is_some()
    }

    /// The description of pass number `pass` of a submission.
    pub fn pass(&self, pass: usize) -> ComputePassDescriptor<'_> {
        let first = 2 * pass as u32;
        let timestamp_writes = self.clock.as_ref().map(|clock| ComputePassTimestampWrites {
            query_set: &clock.queries,
            beginning_of_pass_write_index: Some(first),
            end_of_pass_write_index: Some(first + 1),
        });
        ComputePassDescriptor {
            label: None,
            timestamp_writes,
        }
    }

    /// Ends a submission of `passes` passes. Returns the place of their times.
    pub fn resolve(
        &self,
        encoder: &mut CommandEncoder,
        passes: usize,
    ) -> Option<(&Buffer, u64, u64)> {
        let clock = self.clock.as_ref()?;
        let queries = 2 * passes as u32;
        encoder.resolve_query_set(&clock.queries, 0..queries, &clock.resolved, 0);
        let bytes = u64::from(queries * wgpu::QUERY_SIZE);
        Some((&clock.resolved, 0, bytes))
    }

    /// The rows of a step, and the work of each kernel on them, in the submissions that are added from
    /// now on.
    pub fn set_rows(&mut self, rows: usize, work: impl IntoIterator<Item = Work>) {
        self.profile.set_rows(rows, work);
    }

    /// Adds a submission of `steps` steps: the bytes of [`Profiler::resolve`], which it read, and for
    /// each pass its kernel and the steps that it did.
    pub fn add(
        &mut self,
        steps: usize,
        done: &Done,
        times: Option<&[u8]>,
        passes: impl IntoIterator<Item = (usize, u64)>,
    ) {
        let took = time_at_work(self.until, done.submitted, done.ended);
        self.until = Some(done.ended);
        let ticks: Vec<[u64; 2]> = times.map(bytemuck::pod_collect_to_vec).unwrap_or_default();
        let calls = passes.into_iter().zip(ticks);
        let calls = calls.map(|((kernel, steps), ticks)| (kernel, steps, ticks));
        self.profile.add(steps as u64, took, calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_that_had_to_wait_for_another_has_only_its_own_time() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let took = |until: Option<u64>, submitted, ended| {
            time_at_work(until.map(at), at(submitted), at(ended)).as_secs()
        };
        assert_eq!(took(None, 1, 5), 4);
        assert_eq!(took(Some(3), 1, 5), 2);
        assert_eq!(took(Some(3), 4, 9), 5);
    }
}
