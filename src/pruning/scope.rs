//! Which parameters of a module are pruned.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::Backend;

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
        let mut finder = Finder { path: Vec::new(), name_of, members: Vec::new() };
        module.visit(&mut finder);
        Self { members: finder.members }
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

    /// Whether the parameter at `path` is pruned. Identities would not do: loading a checkpoint
    /// changes them.
    pub fn contains(&self, path: &[String]) -> bool {
        self.members.iter().any(|m| m.path == path)
    }
}

struct Finder<F> {
    path: Vec<String>,
    name_of: F,
    members: Vec<Member>,
}

impl<B: Backend, F: Fn(&[String]) -> Option<String>> ModuleVisitor<B> for Finder<F> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(name) = (self.name_of)(&self.path) {
            self.members.push(Member {
                path: self.path.clone(),
                name,
                size: param.lazy_shape().num_elements(),
            });
        }
    }
}
