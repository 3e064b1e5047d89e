@include data-dir.sh
@include log-version.sh
refuse_newer_log
