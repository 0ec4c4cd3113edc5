using System;
using System.Collections;
using System.Collections.Specialized;
using System.Globalization;
using System.Management.Automation;
using System.Net;
using System.Web;

namespace SecretBridge.Pode;

/// <summary>`$WebEvent`, as Pode's scripts know it.</summary>
public static class WebEvent
{
    /// <summary>The request that is being answered; null outside of one.</summary>
    public static Hashtable? Present { get; internal set; }

    /// <summary>The request, or an error where there is none.</summary>
    public static Hashtable Required =>
        Present ?? throw new BridgeException("NoWebEvent", "there is no request here: responses are written in routes", ErrorCategory.InvalidOperation);

    /// <summary>The table of a request that arrived.</summary>
    public static Hashtable Make(IDictionary from)
    {
        Hashtable headers = ReadHeaders(from["headers"] as object?[]);
        byte[] bytes = Convert.FromBase64String(from["body"] as string ?? "");
        IDictionary? route = from["route"] as IDictionary;
        IDictionary endpoint = from["endpoint"] as IDictionary ?? PlainJson.NewObject();
        object? sent = headers["Content-Type"];
        object? type = route?["contentType"] is string { Length: > 0 } forced ? forced : sent;
        Body body = Body.Read(bytes, type as string ?? "");
        string query = from["query"] as string ?? "";
        string method = from["method"] as string ?? "";
        Hashtable made = Values.NewTable();
        made["Path"] = from["path"];
        made["Method"] = method.ToLowerInvariant();
        made["Query"] = query.Length > 0 ? FormText.Parse(query) : Values.NewTable();
        made["Parameters"] = Copy(from["parameters"] as IDictionary);
        made["Data"] = body.Data;
        made["Files"] = body.Files;
        made["Cookies"] = Cookies.Read(headers["Cookie"] as string ?? "");
        made["PendingCookies"] = new OrderedDictionary(StringComparer.CurrentCultureIgnoreCase);
        made["ContentType"] = type;
        made["Request"] = Request(from, headers, bytes, body.Text, sent, query, method, endpoint);
        made["Response"] = Response();
        Hashtable about = Values.NewTable();
        about["Path"] = route?["path"];
        about["Method"] = route?["method"] is string named ? CultureInfo.InvariantCulture.TextInfo.ToTitleCase(named.ToLowerInvariant()) : null;
        made["Route"] = about;
        Hashtable place = Values.NewTable();
        place["Protocol"] = endpoint["protocol"];
        place["Address"] = endpoint["address"];
        place["Name"] = endpoint["name"];
        made["Endpoint"] = place;
        made["Timestamp"] = from["timestamp"] is string { Length: > 0 } time
            ? DateTime.Parse(time, CultureInfo.InvariantCulture, DateTimeStyles.AdjustToUniversal)
            : DateTime.UtcNow;
        made["ContextId"] = from["context"];
        Hashtable lockable = Values.NewTable();
        lockable["Name"] = Locks.Global;
        made["Lockable"] = lockable;
        made["Metadata"] = Values.NewTable();
        return made;
    }

    private static Hashtable ReadHeaders(object?[]? pairs)
    {
        Hashtable headers = Values.NewTable();
        foreach (object? item in pairs ?? [])
        {
            if (PlainJson.Bare(item) is not object?[] pair)
            {
                continue;
            }
            (string name, string value) = (PlainJson.Text(pair[0]), PlainJson.Text(pair[1]));
            string between = name.Equals("Cookie", StringComparison.OrdinalIgnoreCase) ? "; " : ", ";
            headers[name] = headers[name] is object before ? $"{before}{between}{value}" : value;
        }
        return headers;
    }

    private static Hashtable Copy(IDictionary? from)
    {
        Hashtable copy = Values.NewTable();
        foreach (DictionaryEntry entry in from ?? PlainJson.NewObject())
        {
            copy[entry.Key] = entry.Value;
        }
        return copy;
    }

    private static Hashtable Request(IDictionary from, Hashtable headers, byte[] bytes, string text, object? sent, string query, string method, IDictionary endpoint)
    {
        string address = headers["Host"] as string ?? endpoint["address"] as string ?? "";
        string path = (from["path"] as string ?? "").Replace("%", "%25").Replace("?", "%3F").Replace("#", "%23");
        string target = query.Length > 0 ? $"{path}?{query}" : path;
        // A client may call the host what it likes.
        if (!Uri.TryCreate($"{endpoint["protocol"]}://{address}{target}", UriKind.Absolute, out Uri? url))
        {
            _ = Uri.TryCreate($"{endpoint["protocol"]}://localhost{target}", UriKind.Absolute, out url);
        }
        Hashtable request = Values.NewTable();
        request["Headers"] = headers;
        request["Body"] = text;
        request["RawBody"] = bytes;
        request["HttpMethod"] = method.ToUpperInvariant();
        request["ContentType"] = sent;
        request["Host"] = address;
        request["Url"] = url;
        request["QueryString"] = HttpUtility.ParseQueryString(query);
        request["UrlReferrer"] = headers["Referer"];
        request["RemoteEndPoint"] = IPEndPoint.TryParse(from["remote"] as string ?? "", out IPEndPoint? remote) ? remote : from["remote"];
        request["UserAgent"] = headers["User-Agent"];
        request["Protocol"] = $"HTTP/{from["version"]}";
        request["ProtocolVersion"] = from["version"];
        request["IsSsl"] = "https".Equals(endpoint["protocol"] as string, StringComparison.OrdinalIgnoreCase);
        return request;
    }

    private static Hashtable Response()
    {
        Hashtable response = Values.NewTable();
        response["Headers"] = new ResponseHeaders();
        response["ContentType"] = response["StatusDescription"] = response["Body"] = response["Page"] = null;
        response["StatusCode"] = 200;
        return response;
    }
}
