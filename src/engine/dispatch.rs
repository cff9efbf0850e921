//! One backend out of a closed set.

/// Implements [`Backend`] for an enum whose variants each hold a backend. The brackets take its type
/// parameter, if it has one.
macro_rules! backend_by_match {
    ([$($inner:ident)?] $name:ty, $($variant:ident),+) => {
        impl<$($inner: Backend)?> Backend for $name {
            fn info(&self) -> &BackendInfo {
                match self {
                    $(Self::$variant(backend) => backend.info(),)+
                }
            }

            fn dims(&self) -> &Dims {
                match self {
                    $(Self::$variant(backend) => backend.dims(),)+
                }
            }

            async fn train(
                &mut self,
                steps: &Steps,
                losses: &mut Vec<f32>,
            ) -> Result<(), DeviceError> {
                match self {
                    $(Self::$variant(backend) => backend.train(steps, losses).await,)+
                }
            }

            async fn params(&mut self) -> Result<Params<f32>, DeviceError> {
                match self {
                    $(Self::$variant(backend) => backend.params().await,)+
                }
            }

            async fn set_params(&mut self, params: &Params<f32>) -> Result<(), DeviceError> {
                match self {
                    $(Self::$variant(backend) => backend.set_params(params).await,)+
                }
            }

            async fn calibrate(&mut self, x: &[Token]) -> Result<Statistics, DeviceError> {
                match self {
                    $(Self::$variant(backend) => backend.calibrate(x).await,)+
                }
            }

            async fn evaluate(
                &mut self,
                stats: &Statistics,
                x: &[Token],
                y: &[Token],
            ) -> Result<f64, DeviceError> {
                match self {
                    $(Self::$variant(backend) => backend.evaluate(stats, x, y).await,)+
                }
            }

            async fn start_profile(&mut self) -> Result<(), DeviceError> {
                match self {
                    $(Self::$variant(backend) => backend.start_profile().await,)+
                }
            }

            fn profile(&self) -> Option<&Profile> {
                match self {
                    $(Self::$variant(backend) => backend.profile(),)+
                }
            }
        }
    };
}
pub(super) use backend_by_match;
