# SPDX-License-Identifier: Apache-2.0
# Which lines of the parsers do the unit tests and the fuzz targets' corpora reach? Counted by gcov
# in build-cov; fails under COVERAGE_WANTED percent in total.

COVERAGE_BUILD=$COVEY_SOURCE/build-cov
COVERAGE_WANTED=90

# Whatever reads bytes that somebody else wrote.
COVERAGE_FILES="
base/lines.c base/selector.c base/str.c base/window.c
evidence/bins.c evidence/build.c
protocol/baseline.c protocol/chunk_data.c protocol/chunk_list.c
protocol/coding/coding.c protocol/coding/decode.c protocol/coding/rare.c protocol/coding/words.c
protocol/codec.c protocol/codec_objects.c protocol/delta_set.c protocol/digest.c protocol/enrol.c protocol/manifest.c
protocol/message.c protocol/release.c protocol/spec.c protocol/wire.c
protocol/transport/keyfile.c protocol/transport/zap.c protocol/transport/zframes.c
coordinator/cli/chunker.c coordinator/cli/cmd_gate.c coordinator/cli/config.c coordinator/cli/csv.c
coordinator/cli/file.c
coordinator/cli/image.c coordinator/cli/image_archive.c coordinator/cli/image_oci.c
coordinator/cli/image_source.c coordinator/cli/layer.c coordinator/cli/options.c coordinator/cli/tar_cuts.c coordinator/cli/tensors.c
coordinator/cli/tensors_gguf.c coordinator/cli/tensors_onnx.c
coordinator/cli/yml.c coordinator/cli/yml_baseline.c coordinator/cli/yml_deployment.c coordinator/cli/yml_release.c
coordinator/cli/yml_values.c
coordinator/config.c coordinator/control.c coordinator/operators.c
agent/config.c agent/chunks/peer_hello.c agent/chunks/stage_index.c
agent/helper/bundle_user.c agent/helper/logs.c agent/helper/record.c agent/helper/trusted.c
agent/helper/unpack.c
agent/observe/metrics.c agent/observe/observation.c agent/observe/tally.c
agent/probe/compare.c agent/probe/health.c agent/probe/scrape.c agent/probe/smoke.c
"

coverage_main() {
	need_root
	deps_install
	say "building with gcov into $COVERAGE_BUILD ..."
	build_into "$COVERAGE_BUILD" -Db_coverage=true -Dbuildtype=debug -Doptimization=0
	find "$COVERAGE_BUILD" -name '*.gcda' -delete
	meson test -C "$COVERAGE_BUILD" --no-rebuild --quiet --no-suite fleet --no-suite sim --no-suite lint \
		>"$COVERAGE_BUILD/tests.log" 2>&1 ||
		say "some tests fail in this build; see $COVERAGE_BUILD/meson-logs/testlog.txt"
	python3 "$COVEY_SOURCE/tools/coverage.py" "$COVEY_SOURCE" "$COVERAGE_BUILD" "$COVERAGE_WANTED" $COVERAGE_FILES
}
