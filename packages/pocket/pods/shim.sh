# Runs a container's command as its child, and writes down how it ended, since a pocket that was killed cannot hear it.
#
#   sh shim.sh lasting COMMAND [WORD ...]    in a session of its own, with the container's environment
#   sh shim.sh leashed COMMAND [WORD ...]    the same, and ends with whoever holds the other end of descriptor 3, unless the
#                                            command has left this session
#
# It writes into the folder of $LONGSHORE_TERMINATION_LOG:
#
#   shim      this process. It is made once: a second shim of the same container ends here, so the command runs once.
#   command   the command's process
#   exit      the command's exit code, or 128 and its signal. Without its line end it is not whole. Its time is the end's.
#
# The command may have any variable, so this script sets none outside of its subshells.
#
# The braces around it all have a shell read this file to its end before it begins, since an upgrade may write another one.

{
identity() (
  if [ -r "/proc/$$/stat" ]; then
    boot=-
    [ ! -r /proc/sys/kernel/random/boot_id ] || read -r boot < /proc/sys/kernel/random/boot_id
    read -r stat < "/proc/$$/stat"
    echo "$$ $boot $stat"
  else
    echo "$$ $(TZ=UTC0 LC_ALL=C /bin/ps -o lstart= -p $$)"
  fi
)

if [ "$1" = become ]; then
  shift
  identity > "${LONGSHORE_TERMINATION_LOG%/*}/command"
  unset PWD OLDPWD SHLVL _
  # A shell drops or changes variables of some names. They come by a file that only their owner may read.
  [ ! -r "${LONGSHORE_TERMINATION_LOG%/*}/names" ] || . "${LONGSHORE_TERMINATION_LOG%/*}/names"
  exec "$@"
fi

# A caught signal is not passed on to a child, an ignored one would be. SIGTERM is for the command alone, as in a container.
trap : HUP INT QUIT TERM
# The shell's own words about a child that was killed are not the command's output.
exec 4>&2 2> /dev/null
set -C
identity > "${LONGSHORE_TERMINATION_LOG%/*}/shim" || exit
if [ "$1" = leashed ]; then (read -r _ <&3; kill -s KILL 0) > /dev/null 4>&- & fi
shift
(exec /bin/sh "$0" become "$@" 2>&4 3>&- 4>&-)
# On a full disk the exit waits for room: without it, a command that succeeded would be run again. (set refuses a plain ">".)
set -- $?
until echo "$1" >| "${LONGSHORE_TERMINATION_LOG%/*}/exit" || [ ! -e "${LONGSHORE_TERMINATION_LOG%/*}/shim" ]; do /bin/sleep 1; done
# Processes that the command left behind end with it. This one is among them.
kill -s KILL 0
}
