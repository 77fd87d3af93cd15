// Package agreement asks two engines the same and compares their answers.
//
//	cases := agreement.Cases(seed, 200, members)
//	record, err := agreement.Ask(ctx, lab, agreement.Options{Cases: cases})  // on each of two labs
//	result := agreement.Compare(builtin, binaries)
//
// A case is a Deployment and a Service with a PropagationPolicy of their own,
// and what is done to them: scaled, reweighed, sent elsewhere. All of it hangs
// on the seed. One thing that a hub decides by is not for a client to choose:
// the Deployment's UID, whose hash says in which order ties are broken. So a
// case says which order it wants, and its Deployment is made anew until the UID
// gives that order; then two engines that agree give the same division to the
// replica, in every step.
//
// Where the members' room counts, cases are asked when nothing of the others
// runs any more and the hub knows it; how much there is, is compared too. A step
// is over when the scheduler has certainly seen it, in whatever it says, and the
// members are as it decided.
//
// What is read is what a user can read: the binding, the members' own API
// servers, the template's status, the events. A last phase cuts a member off
// from the hub, goes on meanwhile, and heals.
package agreement
