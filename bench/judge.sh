# SPDX-License-Identifier: Apache-2.0
# The judge's bars in virtual time: false halts, power, drift, labels; beside it, on the same
# streams, a z-test at each look, the same with Bonferroni's correction, and a Mann-Whitney judge as
# published for Kayenta. Takes a quarter of an hour.

bench_judge() {
	say "| rollouts | runs | halted, median | z at each look | Bonferroni | Mann-Whitney, 3 h | bar |"
	say "|---|---|---|---|---|---|---|"
	"$COVEY_BUILD/tests/judge/judge-bars" full
}
