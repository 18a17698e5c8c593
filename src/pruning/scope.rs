//! Which parameters of a module are pruned.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;
use hashbrown::HashSet;

/// One parameter that is pruned.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Field names and list positions that lead to it.
    pub path: Vec<String>,
    /// Name, as the caller translates the module path.
    pub name: String,
    /// Number of weights.
    pub size: usize,
}

/// The prunable parameters, in the module's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scope {
    members: Vec<Member>,
}

impl Scope {
    /// Visits `module` and takes the parameters for which `name_of` gives a name. It is handed the
    /// path of field names and list positions that leads to the parameter.
    pub fn new<B: Backend, M: Module<B>>(
        module: &M,
        name_of: impl Fn(&[String]) -> Option<String>,
    ) -> Self {
        let mut members = Vec::new();
        walk(module, |path, _, size| {
            members.extend(name_of(path).map(|name| Member { path: path.to_vec(), name, size }));
        });
        Self { members }
    }

    /// The same parameters as seen from a module that holds this one in its field `field`.
    #[must_use]
    pub fn within(mut self, field: &str) -> Self {
        for member in &mut self.members {
            member.path.insert(0, field.to_string());
        }
        self
    }

    /// The parameters, in the module's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Number of prunable weights N.
    pub fn size(&self) -> usize {
        self.members.iter().map(|m| m.size).sum()
    }

    /// The identities of these parameters in `module`. They hold until another checkpoint is loaded
    /// into it, which brings its own.
    pub(super) fn ids<B: Backend, M: Module<B>>(&self, module: &M) -> HashSet<ParamId> {
        let paths: HashSet<&[String]> = self.members.iter().map(|m| m.path.as_slice()).collect();
        let mut ids = HashSet::with_capacity(paths.len());
        walk(module, |path, id, _| {
            if paths.contains(path) {
                ids.insert(id);
            }
        });
        ids
    }
}

/// Calls `each` with path, identity and size of every parameter of `module`, in its order.
fn walk<B: Backend, M: Module<B>>(module: &M, each: impl FnMut(&[String], ParamId, usize)) {
    module.visit(&mut Walk { path: Vec::new(), each });
}

struct Walk<F> {
    path: Vec<String>,
    each: F,
}

impl<B: Backend, F: FnMut(&[String], ParamId, usize)> ModuleVisitor<B> for Walk<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        (self.each)(&self.path, param.id, param.lazy_shape().num_elements());
    }
}
