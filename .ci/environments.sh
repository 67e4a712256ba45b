# Sourced by setup.sh. With MBRL_ENVIRONMENTS=FOLDER a finished environment is kept there under the fingerprint of all
# that decides its content, and the next fresh clone of the same content gets a copy: what was installed and built once
# is not made again. Without it, as for a user, every clone is set up from nothing.

restore_environment() { # name of the entry
  local entry=${MBRL_ENVIRONMENTS-}/$1
  if [[ -z ${MBRL_ENVIRONMENTS-} || ! -d $entry || -e $venv ]]; then return; fi
  echo "set-up: the environment is a copy of one that was set up before, from the same content, on this machine"
  rm -rf "$venv.part"
  cp -a "$entry" "$venv.part"
  relocate "$venv.part" "$(<"$entry/.mbrl-home")" "$PWD"
  mv "$venv.part" "$venv"
}

keep_environment() { # name of the entry; the ones before it are of no more use
  if [[ -z ${MBRL_ENVIRONMENTS-} || -d $MBRL_ENVIRONMENTS/$1 ]]; then return; fi
  mkdir -p "$MBRL_ENVIRONMENTS"
  rm -rf "$MBRL_ENVIRONMENTS"/{part,cpu-*,gpu-*}
  cp -a "$venv" "$MBRL_ENVIRONMENTS/part"
  mv "$MBRL_ENVIRONMENTS/part" "$MBRL_ENVIRONMENTS/$1"
}

# Scripts, links and the finders of our own packages name the clone: with one left out, its code would run here.
relocate() { # environment, folder of the clone that it was made in, this clone
  local escaped
  escaped=$(sed 's/[^A-Za-z0-9/_-]/\\&/g' <<<"$2")
  { # where one of these is absent, grep says so by its status
    grep -rlIsF -- "$2" "$1/bin" "$1/share" $(find "$1" -maxdepth 1 -type f) \
      "$1"/lib/python*/site-packages/{*.pth,__editable__*.py,*.dist-info/direct_url.json} || true
  } |
    xargs -r -d '\n' sed -i -E "s#$escaped(/|\"|'|\$)#$3\1#g"
}
