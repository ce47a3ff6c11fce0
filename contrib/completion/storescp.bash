# Completion of storescp for bash 4.4 and newer. Made by generate.py: change that.

_storescp() {
    local word=${COMP_WORDS[COMP_CWORD]} option=${COMP_WORDS[COMP_CWORD - 1]}
    local value=$word
    if [[ $word == = ]]; then # --durability=full is three words to bash
        value=
    elif [[ -n $word && $option == = ]]; then
        option=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    case $option in
        --config) compopt -o default ;;
        --hash-passcode) ;; # NAME
        --log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$value") ;;
        -aet | --aetitle) ;; # aetitle
        -to | --timeout) ;; # seconds
        -ta | --acse-timeout) ;; # seconds
        -td | --dimse-timeout) ;; # seconds
        -pdu | --max-pdu) ;; # number
        -od | --output-directory) compopt -o dirnames ;;
        --durability) mapfile -t COMPREPLY < <(compgen -W 'full file none' -- "$value") ;;
        --on-duplicate) mapfile -t COMPREPLY < <(compgen -W 'keep reject overwrite' -- "$value") ;;
        --min-free) ;; # number
        --storage-timeout) ;; # seconds
        --grace) ;; # seconds
        --max-associations) ;; # number
        --max-associations-per-peer) ;; # number
        --max-unassociated) ;; # number
        --max-instance-size) ;; # number
        --max-associate-rq) ;; # number
        --max-contexts) ;; # number
        --max-transfer-syntaxes) ;; # number
        --max-user-items) ;; # number
        --max-command-set) ;; # number
        --allow) ;; # AET[@NETWORK]
        --allow-file) compopt -o default ;;
        --users) compopt -o default ;;
        --jwt-key) compopt -o default ;;
        --jwt-audience) ;; # NAME
        --jwt-issuer) ;; # NAME
        --auth) ;; # TYPE[:ARGUMENTS]
        --audit-log) compopt -o default ;;
        --tls-cert) compopt -o default ;;
        --tls-key) compopt -o default ;;
        --tls-ca) compopt -o default ;;
        --tls-profile) mapfile -t COMPREPLY < <(compgen -W 'bcp195 bcp195-modified' -- "$value") ;;
        --http) ;; # ENDPOINT
        --listen) ;; # ENDPOINT
        --port) ;; # port
        *) [[ -n $word && $word != -* ]] || mapfile -t COMPREPLY < <(compgen -W '
            -h --help
            --version
            --config
            --check
            --conformance
            --hash-passcode
            -q --quiet
            -v --verbose
            -d --debug
            --log-format
            --log-associations
            -aet --aetitle
            --require-called-aet
            -to --timeout
            -ta --acse-timeout
            -td --dimse-timeout
            -pdu --max-pdu
            --ignore
            -x= --prefer-uncompr
            -xe --prefer-little
            -xb --prefer-big
            -xi --implicit
            --accept-all-syntaxes
            --accept-unknown-sop-classes
            -od --output-directory
            --durability
            --on-duplicate
            --min-free
            --storage-timeout
            --grace
            --max-associations
            --max-associations-per-peer
            --max-unassociated
            --max-instance-size
            --max-associate-rq
            --max-contexts
            --max-transfer-syntaxes
            --max-user-items
            --max-command-set
            --allow
            --allow-file
            --users
            --jwt-key
            --jwt-audience
            --jwt-issuer
            --auth
            --insecure-identity
            --audit-log
            --tls-cert
            --tls-key
            --tls-ca
            --tls-profile
            --http
            --listen
            --port
        ' -- "$word") ;;
    esac
}

complete -F _storescp storescp
